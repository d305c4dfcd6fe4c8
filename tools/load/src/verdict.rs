//! What the readers of a figure's repeats found: a figure that they did not confirm stays, and is marked.

use crate::error::LoadError;
use crate::result::Figure;

/// Whether everything was read back as it was appended.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    fault: Option<String>,
}

impl Verdict {
    /// Takes down what a reader said. What kept it from reading at all goes on as an error.
    pub(crate) fn take(&mut self, read: Result<(), LoadError>) -> Result<(), LoadError> {
        match read {
            Err(error) if error.is_about_contents() => {
                self.fault.get_or_insert_with(|| error.to_string());
                Ok(())
            }
            other => other,
        }
    }

    /// Marks the figure.
    pub(crate) fn mark(self, figure: &mut Figure) {
        figure.verified = self.fault.is_none();
        figure.notes.extend(self.fault.map(|fault| format!("not verified: {fault}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Kind;
    use crate::verify::VerifyError;

    #[test]
    fn a_fault_marks_the_figure_and_ends_nothing() {
        let mut figure = Figure::empty(Kind::Append);
        let mut verdict = Verdict::default();
        verdict.take(Ok(())).expect("nothing wrong");
        verdict.take(Err(VerifyError::Contents { offset: 7 }.into())).expect("kept");
        verdict.take(Ok(())).expect("a later repeat");
        verdict.mark(&mut figure);
        assert!(!figure.verified && figure.notes[0].contains("offset 7"), "{figure:?}");
        let mut whole = Figure::empty(Kind::Append);
        Verdict::default().mark(&mut whole);
        assert!(whole.verified && whole.notes.is_empty());
    }

    #[test]
    fn what_keeps_a_reader_from_reading_is_an_error() {
        assert!(Verdict::default().take(Err(LoadError::Panicked)).is_err());
    }
}
