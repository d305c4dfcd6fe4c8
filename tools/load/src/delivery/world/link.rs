//! One client's end of the link, as the clients of the library know it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use oncelog::delivery::{Link, LinkError, Reply, Request};

use super::{Client, World};

/// One client's end of the link.
pub(in crate::delivery) struct FaultyLink {
    world: Rc<RefCell<World>>,
    pub(in crate::delivery) client: usize,
}

impl FaultyLink {
    /// The end of a new client.
    pub(in crate::delivery) fn new(world: &Rc<RefCell<World>>) -> Self {
        let client = world.borrow().clients.len();
        world.borrow_mut().clients.push(Client::default());
        Self { world: Rc::clone(world), client }
    }
}

impl Link for FaultyLink {
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        self.world.borrow_mut().send(self.client, request)
    }

    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        self.world.borrow_mut().receive(self.client, until)
    }

    fn now(&self) -> Duration {
        self.world.borrow().now
    }
}
