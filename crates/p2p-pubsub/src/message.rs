//! Topics, messages and their ids.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::{PeerId, Permit};
use p2p_keys::PeerIdExt;

use crate::wire::{self, MessageView, WireError, bytes_field_len, message, put_bytes, rpc};

/// The name of a topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic called `name`.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its name as it is on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Topic {
    fn from(name: String) -> Self {
        Self(Arc::from(name))
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The name of a message: bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<[u8]>);

impl MessageId {
    /// The id with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are clones of one id: quicker than comparing them, as it follows no pointer.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Borrow<[u8]> for MessageId {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A message, encoded once and shared by every peer, queue and cache that holds it.
pub struct Message {
    /// As it is on the wire.
    raw: Bytes,
    topic: Topic,
    source: Option<PeerId>,
    from: Span,
    data: Span,
    seqno: Span,
    signature: Span,
    key: Span,
    signed_prefix: Option<usize>,
    /// Pays for `raw`.
    permit: Option<Permit>,
}

/// The fields of a message to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    /// The author's peer id, as bytes.
    pub from: Option<&'a [u8]>,
    /// The payload.
    pub data: &'a [u8],
    /// The sequence number, eight bytes.
    pub seqno: Option<&'a [u8]>,
    /// The signature.
    pub signature: Option<&'a [u8]>,
    /// The author's public key in its protobuf form, if the peer id does not contain it.
    pub key: Option<&'a [u8]>,
}

/// A field inside `raw`; `None`: absent. An empty field is present (proto2).
type Span = Option<(usize, usize)>;

impl Message {
    /// Writes a message in canonical form.
    pub fn encode(topic: Topic, draft: &Draft<'_>) -> Self {
        let mut raw = Vec::with_capacity(draft.data.len() + topic.len() + 256);
        put_signed_fields(
            &mut raw,
            &MessageView {
                from: draft.from,
                data: Some(draft.data),
                seqno: draft.seqno,
                topic: Some(topic.as_bytes()),
                ..MessageView::default()
            },
        );
        let trailer = [
            (message::SIGNATURE, draft.signature),
            (message::KEY, draft.key),
        ];
        for (number, bytes) in trailer {
            if let Some(bytes) = bytes {
                put_bytes(&mut raw, number, bytes);
            }
        }
        let raw = Bytes::from(raw);
        let view = MessageView::parse(&raw).unwrap_or_default();
        Self::of_view(&view, raw.clone(), topic)
    }

    /// Reads a message from the wire. `None` if its topic is absent or not UTF-8.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn decode(raw: Bytes) -> Result<Option<Self>, WireError> {
        let view = MessageView::parse(&raw)?;
        let topic = view.topic.and_then(|topic| std::str::from_utf8(topic).ok());
        Ok(topic.map(|topic| Self::of_view(&view, raw.clone(), Topic::new(topic))))
    }

    /// The message that `view` shows; `raw` has the same contents as `view.raw`.
    pub(crate) fn of_view(view: &MessageView<'_>, raw: Bytes, topic: Topic) -> Self {
        let span = |part: Option<&[u8]>| {
            part.map(|part| {
                // Both are slices of one allocation: the difference is the offset.
                let start = (part.as_ptr() as usize).saturating_sub(view.raw.as_ptr() as usize);
                (start, start.saturating_add(part.len()))
            })
        };
        Self {
            source: view.from.and_then(|from| PeerId::parse_bytes(from).ok()),
            from: span(view.from),
            data: span(view.data),
            seqno: span(view.seqno),
            signature: span(view.signature),
            key: span(view.key),
            signed_prefix: view.signed_prefix,
            topic,
            raw,
            permit: None,
        }
    }

    /// The same, with the receipt for its bytes: given back when the last holder drops it.
    pub fn with_permit(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// The message as it is on the wire.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The payload. Shares the message's memory.
    pub fn data(&self) -> Bytes {
        let (start, end) = self.data.unwrap_or_default();
        match self.raw.get(start..end) {
            Some(data) => self.raw.slice_ref(data),
            None => Bytes::new(),
        }
    }

    /// How many bytes of payload.
    pub fn data_len(&self) -> usize {
        self.data.map_or(0, |(start, end)| end - start)
    }

    /// The author, if there is one and it is a peer id.
    pub fn source(&self) -> Option<PeerId> {
        self.source
    }

    /// The author's peer id as it was written.
    pub fn from(&self) -> Option<&[u8]> {
        self.span(self.from)
    }

    /// The author's sequence number.
    pub fn seqno(&self) -> Option<&[u8]> {
        self.span(self.seqno)
    }

    /// The author's signature.
    pub fn signature(&self) -> Option<&[u8]> {
        self.span(self.signature)
    }

    /// The author's public key.
    pub fn key(&self) -> Option<&[u8]> {
        self.span(self.key)
    }

    /// Bytes of `raw`, from its start, that are signed, if it is in canonical form.
    pub(crate) fn signed_prefix(&self) -> Option<&[u8]> {
        self.raw.get(..self.signed_prefix?)
    }

    /// Bytes that it takes inside an RPC.
    pub fn wire_len(&self) -> usize {
        bytes_field_len(rpc::PUBLISH, self.raw.len())
    }

    fn span(&self, span: Span) -> Option<&[u8]> {
        let (start, end) = span?;
        self.raw.get(start..end)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("source", &self.source)
            .field("len", &self.raw.len())
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}

/// Writes the fields that a signature covers, in canonical order.
pub(crate) fn put_signed_fields(buffer: &mut Vec<u8>, view: &MessageView<'_>) {
    let fields = [
        (message::FROM, view.from),
        (message::DATA, view.data),
        (message::SEQNO, view.seqno),
        (message::TOPIC, view.topic),
    ];
    for (number, bytes) in fields {
        if let Some(bytes) = bytes {
            put_bytes(buffer, number, bytes);
        }
    }
}

/// The bytes that a signature covers, written anew: known fields in order, then unknown ones as
/// they came, as go-libp2p does.
pub(crate) fn rewrite_signed(raw: &[u8], buffer: &mut Vec<u8>) -> Result<(), WireError> {
    put_signed_fields(buffer, &MessageView::parse(raw)?);
    for field in wire::Fields::of(raw) {
        let field = field?;
        if field.number > message::KEY {
            buffer.extend_from_slice(field.raw);
        }
    }
    Ok(())
}
