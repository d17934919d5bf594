//! The handshake: from connecting to the begin of transmission (proto.md, "Newstyle negotiation", "Fixed newstyle negotiation").
//!
//! A [`Handshake`] is fed what the client sent and puts what is to be sent back; it knows no socket and no clock.
//!
//! **Invariant:** an export is opened by `NBD_OPT_GO` and `NBD_OPT_EXPORT_NAME` alone, once at most.

use std::sync::Arc;

use crate::client::Client;
use crate::error::Refusal;
use crate::export::{Export, ExportInfo, Exports, Features};
use crate::protocol::option::{
    ContextQueries, Inquiry, Malformed, kind, put_context, put_listing, put_refusal, put_reply, reply, string,
};
use crate::protocol::{
    Context, FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, Fields, GREETING_MAGIC, Headers, OPTION_MAGIC,
    transmission_flags,
};

/// The most that the data of an option may have; what is longer is passed over and answered with `NBD_REP_ERR_TOO_BIG`. Room for
/// a name, and for some hundred contexts.
const MAX_OPTION_BYTES: usize = 64 << 10;

/// So much of a list is sent at once.
const LISTED_BYTES: usize = 64 << 10;

/// What each option begins with: a magic, its type, the length of its data.
const OPTION_HEADER_BYTES: usize = 16;

/// A handshake in progress.
pub(crate) struct Handshake<'a> {
    exports: &'a dyn Exports,
    client: &'a Client,
    /// The client's flags, once they came.
    flags: Option<ClientFlags>,
    headers: Headers,
    selection: Option<Selection>,
    /// How much of an option's data is still to be passed over.
    skip: usize,
}

#[derive(Clone, Copy)]
struct ClientFlags {
    fixed: bool,
    no_zeroes: bool,
}

/// Contexts that were selected, for the export of that name alone.
struct Selection {
    export: String,
    contexts: Vec<Context>,
}

/// How it goes on.
pub(crate) enum Step {
    /// Not before the client has sent this many bytes, counting those that are there.
    Need(usize),
    /// With what follows these bytes, which are done.
    Took(usize),
    /// With what follows these bytes, after the list of exports was sent; see [`Handshake::list`].
    List(usize),
    /// In transmission, with what follows these bytes.
    Transmit(usize, Opened),
    /// Not at all: both are done with each other.
    Over,
}

/// The client broke the protocol, or asked by `NBD_OPT_EXPORT_NAME` for what it cannot have: the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Violation;

/// What was agreed on.
pub(crate) struct Opened {
    pub(crate) export: Arc<dyn Export>,
    pub(crate) features: Features,
    pub(crate) headers: Headers,
    pub(crate) contexts: Vec<Context>,
}

impl<'a> Handshake<'a> {
    /// Begins a handshake, and puts the greeting.
    pub(crate) fn begin(exports: &'a dyn Exports, client: &'a Client, out: &mut Vec<u8>) -> Self {
        out.extend(GREETING_MAGIC.to_be_bytes());
        out.extend(OPTION_MAGIC.to_be_bytes());
        out.extend((FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
        Self {
            exports,
            client,
            flags: None,
            headers: Headers::Simple,
            selection: None,
            skip: 0,
        }
    }

    /// Goes one step on with what the client has sent; `received` begins where the last step ended. `draining`: the
    /// server is ending.
    ///
    /// # Errors
    /// When the connection is to end; what was put is still to be sent.
    pub(crate) fn step(
        &mut self,
        received: &[u8],
        draining: bool,
        out: &mut Vec<u8>,
    ) -> Result<Step, Violation> {
        if self.skip > 0 {
            if received.is_empty() {
                return Ok(Step::Need(1));
            }
            let passed = self.skip.min(received.len());
            self.skip -= passed;
            return Ok(Step::Took(passed));
        }
        let mut fields = Fields(received);
        let Some(flags) = self.flags else {
            let Some(flags) = fields.u32() else {
                return Ok(Step::Need(4));
            };
            self.flags = Some(ClientFlags::parse(flags)?);
            return Ok(Step::Took(4));
        };

        // A wrong magic is told from its eight bytes alone: the rest of the header may never come.
        let Some(magic) = fields.u64() else {
            return Ok(Step::Need(OPTION_HEADER_BYTES));
        };
        if magic != OPTION_MAGIC {
            return Err(Violation);
        }
        let (Some(option), Some(length)) = (fields.u32(), fields.u32()) else {
            return Ok(Step::Need(OPTION_HEADER_BYTES));
        };
        // Without the fixed style there are no replies to options, so there is only the one that has none.
        if !flags.fixed && option != kind::EXPORT_NAME {
            return Err(Violation);
        }
        let length = length as usize;
        if length > MAX_OPTION_BYTES {
            if option == kind::EXPORT_NAME {
                return Err(Violation);
            }
            let message = format!("an option's data has at most {MAX_OPTION_BYTES} bytes, not {length}");
            put_refusal(option, reply::ERR_TOO_BIG, &message, out);
            self.skip = length;
            return Ok(Step::Took(OPTION_HEADER_BYTES));
        }
        let whole = OPTION_HEADER_BYTES + length;
        let Some(data) = fields.bytes(length) else {
            return Ok(Step::Need(whole));
        };
        if draining && option != kind::ABORT {
            if option == kind::EXPORT_NAME {
                return Err(Violation);
            }
            put_refusal(option, reply::ERR_SHUTDOWN, "the server is ending", out);
            return Ok(Step::Took(whole));
        }
        match option {
            kind::EXPORT_NAME => self
                .export_name(data, flags, out)
                .map(|opened| Step::Transmit(whole, opened)),
            kind::ABORT => {
                put_reply(option, reply::ACK, &[], out);
                Ok(Step::Over)
            }
            kind::GO => Ok(match self.go(data, out) {
                Some(opened) => Step::Transmit(whole, opened),
                None => Step::Took(whole),
            }),
            kind::LIST if data.is_empty() => Ok(Step::List(whole)),
            _ => {
                self.inquire(option, data, out);
                Ok(Step::Took(whole))
            }
        }
    }

    /// Answers an option after which the handshake goes on.
    fn inquire(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) {
        let answered = match option {
            kind::LIST => expect_empty(data),
            kind::INFO => self.info(data, out),
            kind::STRUCTURED_REPLY | kind::EXTENDED_HEADERS => self.agree_headers(option, data),
            kind::LIST_META_CONTEXT => self.list_contexts(data, out),
            kind::SET_META_CONTEXT => self.set_contexts(data, out),
            kind::STARTTLS => Err(Denial::Option(reply::ERR_UNSUP, "no TLS here")),
            _ => Err(Denial::Option(reply::ERR_UNSUP, "no such option")),
        };
        match answered {
            Ok(()) => put_reply(option, reply::ACK, &[], out),
            Err(denial) => denial.put(option, out),
        }
    }

    /// Answers who asked for the list of exports: calls `send` for one part of the replies after the other. Returns `None` as soon
    /// as that does.
    pub(crate) fn list(&self, send: &mut dyn FnMut(&[u8]) -> Option<()>) -> Option<()> {
        let mut out = Vec::new();
        match self.exports.list(self.client) {
            Ok(listing) => {
                for line in listing {
                    put_listing(&line.name, &line.description, &mut out);
                    if out.len() >= LISTED_BYTES {
                        send(&out)?;
                        out.clear();
                    }
                }
                put_reply(kind::LIST, reply::ACK, &[], &mut out);
            }
            Err(refusal) => Denial::Export(refusal).put(kind::LIST, &mut out),
        }
        send(&out)
    }

    fn info(&self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Denial> {
        let inquiry = Inquiry::parse(data)?;
        let info = self.exports.info(inquiry.name, self.client)?;
        let flags = self.flags_of(info.features, inquiry.name);
        inquiry.answer(kind::INFO, &info, flags, out);
        Ok(())
    }

    fn agree_headers(&mut self, option: u32, data: &[u8]) -> Result<(), Denial> {
        expect_empty(data)?;
        let wanted = match option {
            kind::STRUCTURED_REPLY => Headers::Structured,
            _ => Headers::Extended,
        };
        if wanted < self.headers {
            // Extended headers include structured replies; going back is not foreseen.
            return Err(Denial::Option(
                reply::ERR_EXT_HEADER_REQD,
                "extended headers are agreed on",
            ));
        }
        if wanted == self.headers {
            return Err(Denial::Option(reply::ERR_INVALID, "that is agreed on already"));
        }
        self.headers = wanted;
        Ok(())
    }

    fn list_contexts(&self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Denial> {
        let queries = self.context_queries(data)?;
        for context in self.exports.contexts(queries.export, self.client)? {
            if queries.lists(&context) {
                // The number is reserved in a list.
                put_context(kind::LIST_META_CONTEXT, 0, &context, out);
            }
        }
        Ok(())
    }

    fn set_contexts(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Denial> {
        // Whatever was selected before is not any more, also when this fails.
        self.selection = None;
        let queries = self.context_queries(data)?;
        let mut contexts = self.exports.contexts(queries.export, self.client)?;
        contexts.retain(|context| queries.selects(context));
        let numbered = (1..).zip(contexts).map(|(id, name)| Context { id, name });
        let contexts: Vec<_> = numbered.collect();
        for context in &contexts {
            put_context(kind::SET_META_CONTEXT, context.id, &context.name, out);
        }
        self.selection = Some(Selection {
            export: queries.export.to_owned(),
            contexts,
        });
        Ok(())
    }

    fn context_queries<'b>(&self, data: &'b [u8]) -> Result<ContextQueries<'b>, Denial> {
        if self.headers == Headers::Simple {
            return Err(Denial::Option(
                reply::ERR_INVALID,
                "contexts take structured replies",
            ));
        }
        Ok(ContextQueries::parse(data)?)
    }

    /// Opens what `NBD_OPT_GO` asks for; `None` if that cannot be had, which was said.
    fn go(&mut self, data: &[u8], out: &mut Vec<u8>) -> Option<Opened> {
        match self.try_go(data, out) {
            Ok(opened) => {
                put_reply(kind::GO, reply::ACK, &[], out);
                Some(opened)
            }
            Err(denial) => {
                denial.put(kind::GO, out);
                None
            }
        }
    }

    fn try_go(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Opened, Denial> {
        let inquiry = Inquiry::parse(data)?;
        let described = match inquiry.wants_words() {
            true => self.exports.info(inquiry.name, self.client)?,
            false => ExportInfo::default(),
        };
        let export = self.exports.open(inquiry.name, self.client)?;
        let features = export.features();
        let info = ExportInfo {
            size: export.size(),
            features,
            ..described
        };
        inquiry.answer(kind::GO, &info, self.flags_of(features, inquiry.name), out);
        Ok(self.opened(export, features, inquiry.name))
    }

    fn export_name(
        &mut self,
        data: &[u8],
        flags: ClientFlags,
        out: &mut Vec<u8>,
    ) -> Result<Opened, Violation> {
        let name = string(data).map_err(|_| Violation)?;
        let export = self.exports.open(name, self.client).map_err(|_| Violation)?;
        let features = export.features();
        out.extend(export.size().to_be_bytes());
        out.extend(self.flags_of(features, name).to_be_bytes());
        if !flags.no_zeroes {
            out.extend([0; 124]);
        }
        Ok(self.opened(export, features, name))
    }

    fn opened(&mut self, export: Arc<dyn Export>, features: Features, name: &str) -> Opened {
        let selection = self.selection.take().filter(|selection| selection.export == name);
        let contexts = selection.map_or_else(Vec::new, |selection| selection.contexts);
        for context in &contexts {
            export.select(&context.name);
        }
        Opened {
            export,
            features,
            headers: self.headers,
            contexts,
        }
    }

    fn flags_of(&self, features: Features, name: &str) -> u16 {
        let selected = |selection: &Selection| selection.export == name && !selection.contexts.is_empty();
        transmission_flags(
            features,
            self.headers,
            self.selection.as_ref().is_some_and(selected),
        )
    }
}

impl ClientFlags {
    fn parse(flags: u32) -> Result<Self, Violation> {
        let known = u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
        if flags & !known != 0 {
            return Err(Violation);
        }
        Ok(Self {
            fixed: flags & u32::from(FLAG_FIXED_NEWSTYLE) != 0,
            no_zeroes: flags & u32::from(FLAG_NO_ZEROES) != 0,
        })
    }
}

/// Why an option is not answered with `NBD_REP_ACK`.
enum Denial {
    Option(u32, &'static str),
    Export(Refusal),
}

impl Denial {
    fn put(&self, option: u32, out: &mut Vec<u8>) {
        match self {
            Self::Option(kind, message) => put_refusal(option, *kind, message, out),
            Self::Export(refusal) => put_refusal(option, refusal.kind as u32, &refusal.message, out),
        }
    }
}

impl From<Malformed> for Denial {
    fn from(_: Malformed) -> Self {
        Self::Option(reply::ERR_INVALID, "the option's data is malformed")
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Export(refusal)
    }
}

fn expect_empty(data: &[u8]) -> Result<(), Denial> {
    match data.is_empty() {
        true => Ok(()),
        false => Err(Denial::Option(reply::ERR_INVALID, "the option has no data")),
    }
}
