//! Links: what carries requests to a broker and replies back.

use super::{Broker, Reply, Request};
use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Carries one client's requests to a broker, and replies back. It may lose, double, delay and reorder both; clients count
/// on nothing but that a reply was given by a broker, and that requests which are sent often enough arrive.
pub trait Link {
    /// Sends a request, and does not wait for what becomes of it.
    ///
    /// # Errors
    /// [`LinkError::Closed`] if nothing can be sent any more.
    fn send(&mut self, request: Request) -> Result<(), LinkError>;

    /// The next reply; none if the clock has reached `until` first.
    ///
    /// # Errors
    /// [`LinkError::Closed`] if nothing will come any more; [`LinkError::Garbage`] for something that is no reply, which
    /// clients count and ignore.
    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError>;

    /// The link's clock, which never goes back. Timeouts are by this clock, so that a link of a test may have one of its own.
    fn now(&self) -> Duration;
}

/// What a link cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// Nothing is carried any more.
    Closed {
        /// Why.
        reason: String,
    },
    /// Something came that is no reply.
    Garbage {
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { reason } => write!(formatter, "the link is closed: {reason}"),
            Self::Garbage { reason } => write!(formatter, "the link delivered what is no reply: {reason}"),
        }
    }
}

impl Error for LinkError {}

/// A link without a wire: the broker has answered before `send` returns. So its clock stands still, and jumps when a reply
/// is waited for that will not come.
pub struct LocalLink {
    broker: Broker,
    replies: VecDeque<Reply>,
    now: Duration,
}

impl LocalLink {
    /// A link to this broker.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        Self { broker, replies: VecDeque::new(), now: Duration::ZERO }
    }
}

impl Link for LocalLink {
    #[inline]
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        self.replies.extend(self.broker.handle(&request));
        Ok(())
    }

    #[inline]
    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        let reply = self.replies.pop_front();
        if reply.is_none() {
            self.now = self.now.max(until);
        }
        Ok(reply)
    }

    #[inline]
    fn now(&self) -> Duration {
        self.now
    }
}

/// A link to a broker on a thread of its own, which ends with the link.
pub struct ThreadLink {
    /// None once the thread is told to end.
    requests: Option<mpsc::Sender<Request>>,
    replies: mpsc::Receiver<Reply>,
    broker: Option<thread::JoinHandle<()>>,
    began: Instant,
}

impl ThreadLink {
    /// Starts a thread that serves this link.
    #[must_use]
    pub fn new(mut broker: Broker) -> Self {
        let (requests, asked) = mpsc::channel();
        let (answers, replies) = mpsc::channel();
        let broker = thread::spawn(move || broker.serve(&asked, &answers));
        Self { requests: Some(requests), replies, broker: Some(broker), began: Instant::now() }
    }
}

fn gone() -> LinkError {
    LinkError::Closed { reason: "the broker's thread has ended".to_owned() }
}

impl Link for ThreadLink {
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        let Some(requests) = &self.requests else { return Err(gone()) };
        requests.send(request).map_err(|_| gone())
    }

    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        let left = until.saturating_sub(self.began.elapsed());
        match self.replies.recv_timeout(left) {
            Ok(reply) => Ok(Some(reply)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for ThreadLink {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(broker) = self.broker.take() {
            // One that panicked has said so, and answers nobody any more.
            let _ = broker.join();
        }
    }
}
