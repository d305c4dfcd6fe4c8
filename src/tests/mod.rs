//! White-box tests.
//!
//! | file | what it proves |
//! |---|---|
//! | `loom/` | the claim, the publication, the step to the next segment, the slot and the fence, in every interleaving |

#[cfg(loom)]
mod loom;
