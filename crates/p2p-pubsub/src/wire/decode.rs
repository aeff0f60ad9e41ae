//! From the bytes of an RPC to its parts, without building anything.

use super::encode::PartialMode;
use super::fields::{Field, Fields};
use super::{WireError, WireLimits, control, ihave, message, partial, peer_info, prune, rpc, sub};

/// A checked RPC: every nested message is well formed and every count within its limit.
///
/// Protobuf rules hold: of a single field that is written twice the last one counts, nested
/// messages written twice are merged, unknown fields are skipped.
#[derive(Clone, Copy, Debug)]
pub struct Rpc<'a> {
    bytes: &'a [u8],
    has: Has,
}

/// What there is in an RPC, so that nobody looks for the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Has {
    subscriptions: bool,
    messages: bool,
    /// Or anything else.
    control: bool,
}

/// One part of an RPC.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A topic joined or left.
    Subscription(Subscription<'a>),
    /// A published message.
    Publish(MessageView<'a>),
    /// Messages that the sender has.
    IHave(IHave<'a>),
    /// Messages that the sender wants.
    IWant(Ids<'a>),
    /// The sender wants us in its mesh.
    Graft(Option<&'a [u8]>),
    /// The sender has taken us out of its mesh.
    Prune(Prune<'a>),
    /// Messages that the sender does not want.
    IDontWant(Ids<'a>),
    /// The extensions that the sender speaks.
    Extensions(Extensions),
    /// A part of the partial-messages extension.
    Partial(PartialView<'a>),
    /// A message of the test extension.
    Test,
}

/// A topic joined or left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Joined (true) or left.
    pub subscribe: bool,
    /// Which topic.
    pub topic: Option<&'a [u8]>,
    /// The sender wants parts instead of messages.
    pub requests_partial: bool,
    /// The sender can send parts.
    pub supports_partial: bool,
}

/// A published message, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// The whole message as it was written.
    pub raw: &'a [u8],
    /// The author's peer id.
    pub from: Option<&'a [u8]>,
    /// The payload.
    pub data: Option<&'a [u8]>,
    /// The author's sequence number.
    pub seqno: Option<&'a [u8]>,
    /// The topic.
    pub topic: Option<&'a [u8]>,
    /// The author's signature.
    pub signature: Option<&'a [u8]>,
    /// The author's public key.
    pub key: Option<&'a [u8]>,
    /// How many bytes of `raw`, from its start, are signed. `None`: the message is not in
    /// canonical form, and the signed bytes must be written anew.
    pub signed_prefix: Option<usize>,
}

/// Messages that the sender has.
#[derive(Clone, Copy, Debug)]
pub struct IHave<'a> {
    /// Their topic.
    pub topic: Option<&'a [u8]>,
    /// Their ids.
    pub ids: Ids<'a>,
}

/// The sender has taken us out of its mesh.
#[derive(Clone, Copy, Debug)]
pub struct Prune<'a> {
    /// Of which topic.
    pub topic: Option<&'a [u8]>,
    /// For how many seconds we must not graft it again.
    pub backoff: Option<u64>,
    /// The prune message, for [`Prune::peers`].
    bytes: &'a [u8],
}

/// A peer that the sender proposes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerInfoView<'a> {
    /// Who.
    pub peer: Option<&'a [u8]>,
    /// Its signed peer record.
    pub record: Option<&'a [u8]>,
}

/// Extensions of gossipsub 1.3 that the sender speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Partial messages.
    pub partial_messages: bool,
    /// The test extension.
    pub test: bool,
}

/// A part of the partial-messages extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartialView<'a> {
    /// The topic.
    pub topic: Option<&'a [u8]>,
    /// Which message the parts belong to.
    pub group: Option<&'a [u8]>,
    /// Parts, as the application encodes them.
    pub message: Option<&'a [u8]>,
    /// Which parts the sender has and wants.
    pub metadata: Option<&'a [u8]>,
}

impl Subscription<'_> {
    /// How the sender takes part in the partial messages of the topic. Whoever wants parts sends
    /// them, too.
    pub fn partial_mode(&self) -> Option<PartialMode> {
        match (self.requests_partial, self.supports_partial) {
            (true, _) => Some(PartialMode::Requests),
            (false, true) => Some(PartialMode::Supports),
            (false, false) => None,
        }
    }
}

impl<'a> Rpc<'a> {
    /// Checks `bytes` against protobuf and `limits`. Allocates nothing.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn parse(bytes: &'a [u8], limits: &WireLimits) -> Result<Self, WireError> {
        let mut left = Counts::new(limits);
        let mut has = Has::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                rpc::SUBSCRIPTIONS => {
                    has.subscriptions = true;
                    left.subscription()?;
                    subscription(field.bytes()?)?;
                }
                rpc::PUBLISH => {
                    has.messages = true;
                    left.message()?;
                    MessageView::parse(field.bytes()?)?;
                }
                rpc::CONTROL => {
                    has.control = true;
                    check_control(field.bytes()?, &mut left)?;
                }
                rpc::PARTIAL => {
                    has.control = true;
                    partial_view(field.bytes()?)?;
                }
                rpc::TEST => {
                    has.control = true;
                    field.bytes()?;
                }
                _unknown => {}
            }
        }
        Ok(Self { bytes, has })
    }

    /// Whether there are subscriptions among its parts.
    pub fn has_subscriptions(&self) -> bool {
        self.has.subscriptions
    }

    /// Whether there are published messages among its parts.
    pub fn has_messages(&self) -> bool {
        self.has.messages
    }

    /// Whether there is anything else among its parts: control messages, extensions, partial
    /// messages.
    pub fn has_control(&self) -> bool {
        self.has.control
    }

    /// Subscriptions and published messages, extensions, in the order they were written; control
    /// messages where the control message is.
    pub fn parts(&self) -> Parts<'a> {
        Parts {
            outer: Fields::of(self.bytes),
            control: Fields::of(&[]),
        }
    }
}

/// The parts of an [`Rpc`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    outer: Fields<'a>,
    control: Fields<'a>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        loop {
            while let Some(Ok(field)) = self.control.next() {
                if let Some(part) = control_part(&field) {
                    return Some(part);
                }
            }
            let field = self.outer.next()?.ok()?;
            let Ok(bytes) = field.bytes() else { continue };
            match field.number {
                rpc::SUBSCRIPTIONS => return subscription(bytes).ok().map(Part::Subscription),
                rpc::PUBLISH => return MessageView::parse(bytes).ok().map(Part::Publish),
                rpc::CONTROL => self.control = Fields::of(bytes),
                rpc::PARTIAL => return partial_view(bytes).ok().map(Part::Partial),
                rpc::TEST => return Some(Part::Test),
                _unknown => {}
            }
        }
    }
}

fn control_part<'a>(field: &Field<'a>) -> Option<Part<'a>> {
    let bytes = field.bytes().ok()?;
    Some(match field.number {
        control::IHAVE => Part::IHave(IHave {
            topic: last(bytes, ihave::TOPIC),
            ids: Ids::new(bytes, ihave::IDS),
        }),
        control::IWANT => Part::IWant(Ids::new(bytes, super::IDS_ONLY)),
        control::GRAFT => Part::Graft(last(bytes, super::TOPIC_ONLY)),
        control::PRUNE => Part::Prune(prune_view(bytes).ok()?),
        control::IDONTWANT => Part::IDontWant(Ids::new(bytes, super::IDS_ONLY)),
        control::EXTENSIONS => Part::Extensions(extensions(bytes).ok()?),
        _unknown => return None,
    })
}

/// Message ids inside a control message. Ids are bytes, whatever other schemas say.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    fields: Fields<'a>,
    number: u32,
}

impl<'a> Ids<'a> {
    fn new(bytes: &'a [u8], number: u32) -> Self {
        Self {
            fields: Fields::of(bytes),
            number,
        }
    }
}

impl<'a> Iterator for Ids<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let field = self.fields.next()?.ok()?;
            if field.number == self.number {
                return field.bytes().ok();
            }
        }
    }
}

impl<'a> Prune<'a> {
    /// The peers that the sender proposes instead of itself.
    pub fn peers(&self) -> impl Iterator<Item = PeerInfoView<'a>> + use<'a> {
        Ids::new(self.bytes, prune::PEERS).filter_map(|bytes| peer_info_view(bytes).ok())
    }
}

impl<'a> MessageView<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self {
            raw,
            ..Self::default()
        };
        let mut canonical = true;
        let (mut last, mut signed, mut at) = (0, 0, 0usize);
        for field in Fields::of(raw) {
            let field = field?;
            at = at.saturating_add(field.raw.len());
            let slot = match field.number {
                message::FROM => &mut view.from,
                message::DATA => &mut view.data,
                message::SEQNO => &mut view.seqno,
                message::TOPIC => &mut view.topic,
                message::SIGNATURE => &mut view.signature,
                message::KEY => &mut view.key,
                _unknown => {
                    canonical = false;
                    continue;
                }
            };
            let bytes = field.bytes()?;
            *slot = Some(bytes);
            let minimal = field.raw.len() == super::bytes_field_len(field.number, bytes.len());
            canonical &= field.number > last && minimal;
            last = field.number;
            if field.number <= message::TOPIC {
                signed = at;
            }
        }
        view.signed_prefix = canonical.then_some(signed);
        Ok(view)
    }
}

fn subscription(bytes: &[u8]) -> Result<Subscription<'_>, WireError> {
    let mut found = Subscription::default();
    for field in Fields::of(bytes) {
        let field = field?;
        match field.number {
            sub::SUBSCRIBE => found.subscribe = field.varint()? != 0,
            sub::TOPIC => found.topic = Some(field.bytes()?),
            sub::REQUESTS_PARTIAL => found.requests_partial = field.varint()? != 0,
            sub::SUPPORTS_PARTIAL => found.supports_partial = field.varint()? != 0,
            _unknown => {}
        }
    }
    Ok(found)
}

fn check_control(bytes: &[u8], left: &mut Counts) -> Result<(), WireError> {
    for field in Fields::of(bytes) {
        let field = field?;
        match field.number {
            control::IHAVE => {
                left.control()?;
                check_ids(field.bytes()?, Some(ihave::TOPIC), ihave::IDS, left)?;
            }
            control::IWANT | control::IDONTWANT => {
                left.control()?;
                check_ids(field.bytes()?, None, super::IDS_ONLY, left)?;
            }
            control::GRAFT => {
                left.control()?;
                for field in Fields::of(field.bytes()?) {
                    let field = field?;
                    if field.number == super::TOPIC_ONLY {
                        field.bytes()?;
                    }
                }
            }
            control::PRUNE => {
                left.control()?;
                check_prune(field.bytes()?, left)?;
            }
            control::EXTENSIONS => {
                extensions(field.bytes()?)?;
            }
            _unknown => {}
        }
    }
    Ok(())
}

fn check_ids(
    bytes: &[u8],
    topic: Option<u32>,
    ids: u32,
    left: &mut Counts,
) -> Result<(), WireError> {
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == ids {
            left.id()?;
            field.bytes()?;
        } else if Some(field.number) == topic {
            field.bytes()?;
        }
    }
    Ok(())
}

fn check_prune(bytes: &[u8], left: &mut Counts) -> Result<(), WireError> {
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == prune::PEERS {
            left.control()?;
            peer_info_view(field.bytes()?)?;
        }
    }
    prune_view(bytes).map(|_| ())
}

fn prune_view(bytes: &[u8]) -> Result<Prune<'_>, WireError> {
    let (mut topic, mut backoff) = (None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.number {
            prune::TOPIC => topic = Some(field.bytes()?),
            prune::BACKOFF => backoff = Some(field.varint()?),
            _peers_or_unknown => {}
        }
    }
    Ok(Prune {
        topic,
        backoff,
        bytes,
    })
}

fn peer_info_view(bytes: &[u8]) -> Result<PeerInfoView<'_>, WireError> {
    let mut found = PeerInfoView::default();
    for field in Fields::of(bytes) {
        let field = field?;
        match field.number {
            peer_info::PEER => found.peer = Some(field.bytes()?),
            peer_info::RECORD => found.record = Some(field.bytes()?),
            _unknown => {}
        }
    }
    Ok(found)
}

fn extensions(bytes: &[u8]) -> Result<Extensions, WireError> {
    let mut found = Extensions::default();
    for field in Fields::of(bytes) {
        let field = field?;
        match field.number {
            rpc::PARTIAL => found.partial_messages = field.varint()? != 0,
            rpc::TEST => found.test = field.varint()? != 0,
            _unknown => {}
        }
    }
    Ok(found)
}

fn partial_view(bytes: &[u8]) -> Result<PartialView<'_>, WireError> {
    let mut found = PartialView::default();
    for field in Fields::of(bytes) {
        let field = field?;
        match field.number {
            partial::TOPIC => found.topic = Some(field.bytes()?),
            partial::GROUP => found.group = Some(field.bytes()?),
            partial::MESSAGE => found.message = Some(field.bytes()?),
            partial::METADATA => found.metadata = Some(field.bytes()?),
            _unknown => {}
        }
    }
    Ok(found)
}

/// The last field `number` of a checked message.
fn last(bytes: &[u8], number: u32) -> Option<&[u8]> {
    Ids::new(bytes, number).last()
}

/// What may still come in one RPC.
struct Counts {
    limits: WireLimits,
    left: WireLimits,
}

impl Counts {
    fn new(limits: &WireLimits) -> Self {
        Self {
            limits: limits.clone(),
            left: limits.clone(),
        }
    }

    fn subscription(&mut self) -> Result<(), WireError> {
        let max = self.limits.max_subscriptions;
        spend(&mut self.left.max_subscriptions, "subscriptions", max)
    }

    fn message(&mut self) -> Result<(), WireError> {
        let max = self.limits.max_messages;
        spend(&mut self.left.max_messages, "messages", max)
    }

    fn control(&mut self) -> Result<(), WireError> {
        let max = self.limits.max_control;
        spend(&mut self.left.max_control, "control messages", max)
    }

    fn id(&mut self) -> Result<(), WireError> {
        let max = self.limits.max_ids;
        spend(&mut self.left.max_ids, "message ids", max)
    }
}

fn spend(left: &mut usize, what: &'static str, max: usize) -> Result<(), WireError> {
    *left = left
        .checked_sub(1)
        .ok_or(WireError::TooMany { what, max })?;
    Ok(())
}
