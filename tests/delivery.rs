//! Producers and consumers over links that answer badly, late, twice or not at all. What faults come to in number is
//! measured by the load generator's own tests.

mod logs;

use logs::{directory, open, small};
use oncelog::{
    Answer, Log,
    delivery::{
        Acknowledge, Broker, Call, Consumer, ConsumerOptions, Delivery, DeliveryError, Link, LinkError, LocalLink,
        Outcome, Patience, Pipeline, PipelineOptions, Producer, ProducerOptions, Reply, Request, ThreadLink,
    },
};
use std::{collections::VecDeque, time::Duration};

const TIMEOUT: Duration = Duration::from_millis(1);

fn options() -> ProducerOptions {
    let patience = Patience { timeout: TIMEOUT, timeout_max: 4 * TIMEOUT, give_up_after: 100 * TIMEOUT };
    ProducerOptions::new().patience(patience)
}

fn stored(log: &Log) -> Vec<Vec<u8>> {
    let partition = log.partition("orders").expect("a partition");
    let mut reader = partition.read_from(0).expect("a reader");
    let mut stored = Vec::new();
    while let Some(record) = reader.next().expect("it is whole") {
        stored.push(record.payload().to_vec());
    }
    stored
}

fn numbers(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_string().into_bytes()).collect()
}

/// What a link does to the request that it is about to carry, and to the replies.
type Bend = Box<dyn FnMut(&mut VecDeque<Result<Reply, LinkError>>, &mut Broker, Request)>;

/// A link that is bent: its clock jumps when nothing comes.
struct Bent {
    broker: Broker,
    replies: VecDeque<Result<Reply, LinkError>>,
    now: Duration,
    bend: Bend,
}

impl Bent {
    fn new(
        log: &Log,
        bend: impl FnMut(&mut VecDeque<Result<Reply, LinkError>>, &mut Broker, Request) + 'static,
    ) -> Self {
        Self { broker: Broker::new(log), replies: VecDeque::new(), now: Duration::ZERO, bend: Box::new(bend) }
    }
}

impl Link for Bent {
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        (self.bend)(&mut self.replies, &mut self.broker, request);
        Ok(())
    }

    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        match self.replies.pop_front() {
            Some(reply) => reply.map(Some),
            None => {
                self.now = self.now.max(until);
                Ok(None)
            }
        }
    }

    fn now(&self) -> Duration {
        self.now
    }
}

fn is_append(request: &Request) -> bool {
    matches!(request.call, Call::Append { .. })
}

#[test]
fn order_is_kept_when_the_first_of_several_in_flight_is_lost() {
    let directory = directory();
    let log = open(directory.path(), &small());
    // The first attempt of every seventh request is lost while those behind it arrive.
    let link = Bent::new(&log, |replies, broker, request| {
        if !(is_append(&request) && request.attempt == 0 && request.number % 7 == 1) {
            replies.extend(broker.handle(&request).map(Ok));
        }
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options()).expect("registered");
    for payload in numbers(100) {
        producer.send(&payload).expect("sent");
    }
    producer.flush().expect("acknowledged");
    assert_eq!(stored(&log), numbers(100));
    assert_eq!(producer.acknowledged(), 100);
    assert!(producer.sent_again() > 15, "those behind a lost one were refused: {}", producer.sent_again());
}

#[test]
fn at_least_once_doubles_and_reorders_under_the_same_faults() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let link = Bent::new(&log, |replies, broker, request| {
        let lost = request.attempt == 0 && request.number % 7 == 1;
        let reply_lost = request.attempt == 0 && request.number % 11 == 1;
        if !lost {
            let reply = broker.handle(&request).map(Ok);
            replies.extend(reply.filter(|_| !reply_lost));
        }
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::AtLeastOnce, &options()).expect("open");
    for payload in numbers(100) {
        producer.send(&payload).expect("sent");
    }
    producer.flush().expect("acknowledged");
    let stored = stored(&log);
    // Of nine acknowledgements that were to be lost, those of 1 and 78 were none: the requests had not arrived.
    assert_eq!(stored.len(), 107);
    assert!(numbers(100).iter().all(|payload| stored.contains(payload)), "none is lost");
    let first = |payload: &[u8]| stored.iter().position(|stored| stored == payload);
    assert!(first(b"1") > first(b"2"), "the second was overtaken");
}

#[test]
fn at_most_once_sends_once_and_awaits_nothing() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let link = Bent::new(&log, |replies, broker, request| {
        assert_eq!(request.attempt, 0);
        let reply = broker.handle(&request);
        assert_eq!(reply, None, "nobody asked for one");
        replies.extend(reply.map(Ok));
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::AtMostOnce, &options()).expect("open");
    for payload in numbers(10) {
        producer.send(&payload).expect("sent");
    }
    producer.flush().expect("nothing is awaited");
    assert_eq!((stored(&log), producer.acknowledged()), (numbers(10), 0));
}

#[test]
fn replies_that_belong_to_nothing_are_counted_and_acknowledge_nothing() {
    let directory = directory();
    let log = open(directory.path(), &small());
    // Before each true reply: no reply at all, one to another client, to a request that was never sent, to an attempt that
    // was never made, and one that answers another kind of request. Behind it: the same once more.
    let link = Bent::new(&log, |replies, broker, request| {
        let Some(reply) = broker.handle(&request) else { return };
        let stored = Outcome::Answered(Answer::Appended { first: 0, last: 0 });
        if is_append(&request) {
            replies.push_back(Err(LinkError::Garbage { reason: "noise".to_owned() }));
            replies.push_back(Ok(Reply { client: reply.client ^ 1, outcome: stored.clone(), ..reply }));
            replies.push_back(Ok(Reply { number: reply.number + 1_000, outcome: stored.clone(), ..reply }));
            replies.push_back(Ok(Reply { attempt: reply.attempt + 1, outcome: stored, ..reply }));
            replies.push_back(Ok(Reply { outcome: Outcome::Trimmed { start: 0 }, ..reply }));
            let two = Outcome::Answered(Answer::Appended { first: 4, last: 5 });
            replies.push_back(Ok(Reply { outcome: two, ..reply }));
        }
        replies.push_back(Ok(reply.clone()));
        replies.push_back(Ok(reply));
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options()).expect("registered");
    for payload in numbers(20) {
        producer.send(&payload).expect("sent");
        assert!(producer.acknowledged() <= producer.next_message());
    }
    producer.flush().expect("acknowledged");
    assert_eq!((stored(&log), producer.acknowledged()), (numbers(20), 20));
    let strays = producer.strays();
    assert_eq!((strays.unknown, strays.garbage), (40, 80));
    // One of each pair of true replies, those to the registration among them; the last is not looked at any more.
    assert_eq!(strays.repeated, 20);
}

#[test]
fn a_link_of_nothing_but_garbage_ends_in_an_error() {
    let directory = directory();
    let log = open(directory.path(), &small());
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let link = Bent::new(&log, |replies, broker, request| {
            if is_append(&request) {
                replies.push_back(Err(LinkError::Garbage { reason: "noise".to_owned() }));
            } else {
                replies.extend(broker.handle(&request).map(Ok));
            }
        });
        let mut producer = Producer::open(link, "orders", "web", delivery, &options()).expect("open");
        producer.send(b"0").expect("sent");
        let error = producer.flush().expect_err("no reply has come");
        assert!(matches!(error, DeliveryError::GaveUp { attempts, .. } if attempts > 5), "{error}");
        assert_eq!(producer.send(b"1"), Err(error), "a producer that has failed takes nothing more");
        assert_eq!((producer.acknowledged(), producer.first_in_doubt()), (0, 0));
        assert!(producer.strays().garbage > 5);
    }
}

#[test]
fn a_producer_that_was_replaced_is_told_and_its_successor_goes_on() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let broker = Broker::new(&log);
    let open = || {
        let link = LocalLink::new(broker.clone());
        Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options()).expect("registered")
    };
    let mut elder = open();
    for payload in numbers(5) {
        elder.send(&payload).expect("sent");
    }
    let mut younger = open();
    assert_eq!(younger.next_message(), 5, "the broker knows how far the name has come");
    elder.send(b"5").expect("sent");
    assert!(matches!(elder.flush(), Err(DeliveryError::Fenced { epoch: 2 })));
    assert_eq!(elder.first_in_doubt(), 5);
    younger.send(b"5").expect("sent");
    younger.flush().expect("acknowledged");
    assert_eq!(stored(&log), numbers(6));
}

#[test]
fn a_registration_that_arrives_twice_does_not_fence_its_own_producer() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let mut echo = None;
    let link = Bent::new(&log, move |replies, broker, request| {
        if let Some(registration) = echo.take() {
            // The double arrives when the first has been answered.
            replies.extend(broker.handle(&registration).map(Ok));
        }
        replies.extend(broker.handle(&request).map(Ok));
        if matches!(request.call, Call::Register { .. }) {
            echo = Some(request);
        }
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options()).expect("registered");
    producer.send(b"0").expect("sent");
    producer.flush().expect("not fenced");
}

#[test]
fn a_refusal_that_has_been_overtaken_is_no_loss() {
    // Found by thought: a refusal that was under way while the missing one arrived and was acknowledged looks as if the
    // broker had forgotten what it acknowledged.
    let directory = directory();
    let log = open(directory.path(), &small());
    let mut held = None;
    let link = Bent::new(&log, move |replies, broker, request| match (request.number, request.attempt) {
        // The first message is held up until the second was refused, and its reply comes first.
        (1, 0) => held = Some(request),
        (2, 0) => {
            let refusal = broker.handle(&request);
            let first = held.take().and_then(|request| broker.handle(&request));
            replies.extend(first.into_iter().chain(refusal).map(Ok));
        }
        _ => replies.extend(broker.handle(&request).map(Ok)),
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options()).expect("registered");
    for payload in numbers(2) {
        producer.send(&payload).expect("sent");
    }
    producer.flush().expect("acknowledged");
    assert_eq!(stored(&log), numbers(2));
}

#[test]
fn a_broker_that_forgot_what_it_acknowledged_is_not_believed() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let link = Bent::new(&log, |replies, broker, request| {
        let mut reply = broker.handle(&request).expect("a reply");
        if request.number == 3 {
            reply.outcome = Outcome::Answered(Answer::OutOfOrder { expected: 0 });
        }
        replies.push_back(Ok(reply));
    });
    let mut producer = Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options()).expect("registered");
    for payload in numbers(2) {
        producer.send(&payload).expect("sent");
        producer.flush().expect("acknowledged");
    }
    producer.send(b"2").expect("sent");
    assert_eq!(producer.flush(), Err(DeliveryError::Forgotten { expected: 0, acknowledged: 2 }));
}

#[test]
fn what_the_broker_cannot_do_is_an_error_that_names_it() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let local = || LocalLink::new(Broker::new(&log));
    let name =
        Producer::open(local(), "orders", "", Delivery::ExactlyOnce, &options()).map(|_| ()).expect_err("no name");
    assert!(name.to_string().contains("producer name \"\""), "{name}");
    let partition = Producer::open(local(), "../x", "web", Delivery::ExactlyOnce, &options()).map(|_| ());
    assert!(matches!(partition, Err(DeliveryError::Refused { .. })), "{partition:?}");

    let mut producer = Producer::open(local(), "orders", "web", Delivery::AtLeastOnce, &options()).expect("open");
    producer.send(&[0; 1 << 20]).expect("sent");
    let error = producer.flush().expect_err("too large");
    assert!(error.to_string().contains("1048576 bytes are too many for one frame: at most"), "{error}");

    let none = options().in_flight(0);
    let error = Producer::open(local(), "orders", "web", Delivery::AtLeastOnce, &none).map(|_| ()).expect_err("none");
    assert_eq!(error.to_string(), "in_flight is 0, and must be from 1 to 4096");
    let deaf = options().acknowledge(Acknowledge::Nothing);
    let error = Producer::open(local(), "orders", "web", Delivery::ExactlyOnce, &deaf).map(|_| ()).expect_err("deaf");
    assert!(error.to_string().starts_with("acknowledge is Nothing"), "{error}");
}

#[test]
fn durable_acknowledgements_come_from_a_thread_of_the_brokers_own() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let link = ThreadLink::new(Broker::new(&log));
    let options = ProducerOptions::new().acknowledge(Acknowledge::Durable);
    let mut producer = Producer::open(link, "orders", "web", Delivery::ExactlyOnce, &options).expect("registered");
    for payload in numbers(20) {
        producer.send(&payload).expect("sent");
    }
    producer.flush().expect("acknowledged");
    assert_eq!(log.partition("orders").expect("a partition").durable_offset(), 20);
}

#[test]
fn a_log_with_a_group_and_a_partition_without_a_record_closes() {
    // Found by a cell whose broker stopped: closing waited for a flush of the empty partition, in which there is nothing
    // to flush and no end to it.
    let directory = directory();
    let log = open(directory.path(), &small());
    let partition = log.partition("orders").expect("a partition");
    let group = log.group("billing").expect("a group");
    drop((partition, group));
    log.close().expect("it closes");
}

fn consumer(broker: &Broker, delivery: Delivery) -> Consumer<LocalLink> {
    let options = ConsumerOptions::new().records(4);
    Consumer::open(LocalLink::new(broker.clone()), "orders", "billing", delivery, &options).expect("joined")
}

fn polled(consumer: &mut Consumer<LocalLink>) -> Vec<u64> {
    consumer.poll().expect("messages").iter().map(|message| message.offset).collect()
}

#[test]
fn a_consumer_commits_before_or_after_or_leaves_it_to_whoever_keeps_the_results() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let mut appender = log.partition("orders").expect("a partition").appender().expect("a handle");
    for payload in numbers(10) {
        appender.append(&payload).expect("room");
    }
    let broker = Broker::new(&log);

    let mut first = consumer(&broker, Delivery::AtMostOnce);
    assert_eq!(polled(&mut first), [0, 1, 2, 3]);
    // It stops, and what it was given is not given again.
    let mut second = consumer(&broker, Delivery::AtLeastOnce);
    assert_eq!(polled(&mut second), [4, 5, 6, 7]);
    // It stops, and what it was given is given again.
    let mut third = consumer(&broker, Delivery::AtLeastOnce);
    assert_eq!(polled(&mut third), [4, 5, 6, 7]);
    assert_eq!(polled(&mut third), [8, 9]);
    third.commit().expect("committed");
    assert!(matches!(second.commit(), Err(DeliveryError::Replaced { .. })), "it was replaced");

    let mut fourth = consumer(&broker, Delivery::ExactlyOnce);
    assert_eq!((fourth.position(), polled(&mut fourth)), (10, vec![]));
    fourth.seek(9);
    assert_eq!(polled(&mut fourth), [9]);
    assert_eq!(fourth.commit(), Err(DeliveryError::CommitsWithResults));
}

fn fill(log: &Log, count: u64) {
    let mut appender = log.partition("orders").expect("a partition").appender().expect("a handle");
    for payload in numbers(count) {
        appender.append(&payload).expect("room");
    }
}

fn pipeline<L: Link>(link: L) -> Pipeline<L> {
    let patience = options().patience;
    let options = PipelineOptions::new().patience(patience).records(4);
    Pipeline::open(link, "invoicing", "invoicing", "orders", "invoices", &options).expect("open")
}

fn payloads<L: Link>(pipeline: &mut Pipeline<L>) -> Vec<std::sync::Arc<[u8]>> {
    pipeline.poll().expect("messages").into_iter().map(|message| message.payload).collect()
}

/// What a consumer sees of the outputs.
fn invoices(broker: &Broker) -> Vec<Vec<u8>> {
    let link = LocalLink::new(broker.clone());
    let options = ConsumerOptions::default();
    let mut consumer = Consumer::open(link, "invoices", "post", Delivery::ExactlyOnce, &options).expect("joined");
    consumer.seek(0);
    consumer.poll().expect("messages").into_iter().map(|message| message.payload.to_vec()).collect()
}

#[test]
fn outputs_are_seen_with_their_commit_and_not_before() {
    let directory = directory();
    let log = open(directory.path(), &small());
    fill(&log, 10);
    let broker = Broker::new(&log);
    // A pipeline whose commits never arrive: it gives up, and its outputs stay in the log.
    let link = Bent::new(&log, |replies, broker, request| {
        if !matches!(request.call, Call::CommitTransaction { .. }) {
            replies.extend(broker.handle(&request).map(Ok));
        }
    });
    let mut stuck = pipeline(link);
    let outputs = payloads(&mut stuck);
    assert!(matches!(stuck.commit(&outputs), Err(DeliveryError::GaveUp { .. })));
    assert_eq!(log.partition("invoices").expect("a partition").end_offset(), 4);
    assert_eq!(invoices(&broker), Vec::<Vec<u8>>::new(), "the transaction is open");

    // Its successor begins where it began, and what it left open never was.
    let mut successor = pipeline(LocalLink::new(broker.clone()));
    assert_eq!(invoices(&broker), Vec::<Vec<u8>>::new(), "the transaction is aborted");
    while successor.committed() < 10 {
        let outputs = payloads(&mut successor);
        assert_eq!(payloads(&mut successor), outputs, "without a commit the same messages come again");
        successor.commit(&outputs).expect("committed");
    }
    assert_eq!(invoices(&broker), numbers(10));
    assert!(matches!(stuck.commit(&outputs), Err(DeliveryError::Fenced { .. })), "it was replaced");
    assert_eq!(invoices(&broker), numbers(10));
}

#[test]
fn an_output_that_cannot_be_stored_commits_nothing() {
    let directory = directory();
    let log = open(directory.path(), &small());
    fill(&log, 4);
    let broker = Broker::new(&log);
    let mut pipeline = pipeline(LocalLink::new(broker.clone()));
    let outputs = payloads(&mut pipeline);
    let too_large = [&b"0"[..], &[0; 1 << 20]];
    assert!(matches!(pipeline.commit(&too_large), Err(DeliveryError::Refused { .. })));
    assert_eq!((invoices(&broker), pipeline.committed()), (vec![], 0));
    assert_eq!(log.open_transactions().len(), 0);
    // The same messages with other outputs.
    pipeline.commit(&outputs).expect("committed");
    assert_eq!((invoices(&broker), pipeline.committed()), (numbers(4), 4));
}
