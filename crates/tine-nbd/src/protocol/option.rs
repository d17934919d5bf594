//! Options: what a client asks for before transmission (proto.md, "Option types"), and the replies to them.

use crate::export::ExportInfo;
use crate::limits::{MAX_REQUEST_BYTES, MIN_BLOCK_BYTES, PREFERRED_BLOCK_BYTES};
use crate::protocol::{Fields, MAX_STRING_BYTES, OPTION_REPLY_MAGIC, cut};

/// Option types.
pub(crate) mod kind {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
    pub(crate) const EXTENDED_HEADERS: u32 = 11;
}

/// Reply types.
pub(crate) mod reply {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META_CONTEXT: u32 = 4;
    pub(crate) const ERR_UNSUP: u32 = (1 << 31) + 1;
    pub(crate) const ERR_INVALID: u32 = (1 << 31) + 3;
    pub(crate) const ERR_SHUTDOWN: u32 = (1 << 31) + 7;
    pub(crate) const ERR_TOO_BIG: u32 = (1 << 31) + 9;
    pub(crate) const ERR_EXT_HEADER_REQD: u32 = (1 << 31) + 10;
}

/// Types of `NBD_REP_INFO`.
mod info {
    pub(super) const EXPORT: u16 = 0;
    pub(super) const NAME: u16 = 1;
    pub(super) const DESCRIPTION: u16 = 2;
    pub(super) const BLOCK_SIZE: u16 = 3;
}

/// The data of an option is not what the option has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// Returns `bytes` as a string of the protocol.
pub(crate) fn string(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
    match text.len() <= MAX_STRING_BYTES && !text.contains('\0') {
        true => Ok(text),
        false => Err(Malformed),
    }
}

/// Reads a string that its length precedes.
fn prefixed<'a>(fields: &mut Fields<'a>) -> Result<&'a str, Malformed> {
    let length = fields.u32().ok_or(Malformed)?;
    string(fields.bytes(length as usize).ok_or(Malformed)?)
}

/// What `NBD_OPT_INFO` and `NBD_OPT_GO` ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inquiry<'a> {
    pub(crate) name: &'a str,
    wants_name: bool,
    wants_description: bool,
    wants_block_size: bool,
}

impl<'a> Inquiry<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(data);
        let name = prefixed(&mut fields)?;
        let count = fields.u16().ok_or(Malformed)?;
        if fields.0.len() != 2 * usize::from(count) {
            return Err(Malformed);
        }
        let mut inquiry = Self {
            name,
            wants_name: false,
            wants_description: false,
            wants_block_size: false,
        };
        // What is asked for and unknown is ignored, as the document demands.
        while let Some(wanted) = fields.u16() {
            match wanted {
                info::NAME => inquiry.wants_name = true,
                info::DESCRIPTION => inquiry.wants_description = true,
                info::BLOCK_SIZE => inquiry.wants_block_size = true,
                _ => (),
            }
        }
        Ok(inquiry)
    }

    /// Tells whether the answer has words in it, which [`Exports::info`](crate::Exports::info) knows.
    pub(crate) fn wants_words(&self) -> bool {
        self.wants_name || self.wants_description
    }

    /// Puts the replies that describe an export; the one that ends the option is not among them.
    pub(crate) fn answer(&self, option: u32, export: &ExportInfo, flags: u16, out: &mut Vec<u8>) {
        let mut data = info::EXPORT.to_be_bytes().to_vec();
        data.extend(export.size.to_be_bytes());
        data.extend(flags.to_be_bytes());
        put_reply(option, reply::INFO, &data, out);

        let mut put = |kind: u16, text: &str| {
            let data = [&kind.to_be_bytes(), cut(text).as_bytes()].concat();
            put_reply(option, reply::INFO, &data, out);
        };
        if self.wants_name {
            put(info::NAME, &export.name);
        }
        if self.wants_description && !export.description.is_empty() {
            put(info::DESCRIPTION, &export.description);
        }
        if self.wants_block_size {
            let mut data = info::BLOCK_SIZE.to_be_bytes().to_vec();
            for size in [MIN_BLOCK_BYTES, PREFERRED_BLOCK_BYTES, MAX_REQUEST_BYTES] {
                data.extend(size.to_be_bytes());
            }
            put_reply(option, reply::INFO, &data, out);
        }
    }
}

/// What `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT` ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ContextQueries<'a> {
    pub(crate) export: &'a str,
    pub(crate) queries: Vec<&'a str>,
}

impl<'a> ContextQueries<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(data);
        let export = prefixed(&mut fields)?;
        let count = fields.u32().ok_or(Malformed)?;
        let mut queries = Vec::new();
        for _ in 0..count {
            let query = prefixed(&mut fields)?;
            // Each begins with a namespace.
            if !query.contains(':') {
                return Err(Malformed);
            }
            queries.push(query);
        }
        match fields.0.is_empty() {
            true => Ok(Self { export, queries }),
            false => Err(Malformed),
        }
    }

    /// Tells whether `NBD_OPT_LIST_META_CONTEXT` shows `context`: it is named, or what it begins with, up to a colon, or nothing is.
    pub(crate) fn lists(&self, context: &str) -> bool {
        let matches = |query: &&str| *query == context || query.ends_with(':') && context.starts_with(*query);
        self.queries.is_empty() || self.queries.iter().any(matches)
    }

    /// Tells whether `NBD_OPT_SET_META_CONTEXT` selects `context`: it is named.
    pub(crate) fn selects(&self, context: &str) -> bool {
        self.queries.contains(&context)
    }
}

/// Puts one reply to an option.
pub(crate) fn put_reply(option: u32, kind: u32, data: &[u8], out: &mut Vec<u8>) {
    out.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

/// Puts the reply to an option that cannot be had.
pub(crate) fn put_refusal(option: u32, kind: u32, message: &str, out: &mut Vec<u8>) {
    put_reply(option, kind, cut(message).as_bytes(), out);
}

/// Puts one line of the list of exports.
pub(crate) fn put_listing(name: &str, description: &str, out: &mut Vec<u8>) {
    let (name, description) = (cut(name), cut(description));
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend(description.as_bytes());
    put_reply(kind::LIST, reply::SERVER, &data, out);
}

/// Puts one context.
pub(crate) fn put_context(option: u32, id: u32, name: &str, out: &mut Vec<u8>) {
    let data = [&id.to_be_bytes(), cut(name).as_bytes()].concat();
    put_reply(option, reply::META_CONTEXT, &data, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(export: &str, queries: &[&str]) -> Vec<u8> {
        let mut data = (export.len() as u32).to_be_bytes().to_vec();
        data.extend(export.as_bytes());
        data.extend((queries.len() as u32).to_be_bytes());
        for query in queries {
            data.extend((query.len() as u32).to_be_bytes());
            data.extend(query.as_bytes());
        }
        data
    }

    #[test]
    fn contexts_are_listed_by_name_by_namespace_or_all() {
        let data = queries("web", &[]);
        let all = ContextQueries::parse(&data).unwrap();
        assert!(all.lists("base:allocation") && all.lists("tine:changed:a"));
        assert!(!all.selects("base:allocation"), "an empty list selects nothing");

        let data = queries("web", &["tine:", "base:allocation"]);
        let some = ContextQueries::parse(&data).unwrap();
        assert_eq!(some.export, "web");
        assert!(some.lists("tine:changed:a") && some.lists("base:allocation"));
        assert!(!some.lists("qemu:allocation-depth"));
        assert!(some.selects("base:allocation"));
        assert!(!some.selects("tine:changed:a"), "a namespace selects nothing");
    }

    #[test]
    fn queries_that_lie_about_their_length_are_malformed() {
        let data = queries("web", &["base:allocation"]);
        for end in 0..data.len() {
            assert_eq!(ContextQueries::parse(&data[..end]), Err(Malformed), "{end}");
        }
        let longer = [&data[..], b"x"].concat();
        assert_eq!(ContextQueries::parse(&longer), Err(Malformed));
        assert_eq!(
            ContextQueries::parse(&queries("web", &["allocation"])),
            Err(Malformed)
        );
        assert_eq!(ContextQueries::parse(&queries("w\0b", &[])), Err(Malformed));
    }

    #[test]
    fn an_inquiry_names_an_export_and_what_to_tell() {
        let data = b"\0\0\0\x03web\0\x02\0\x03\0\x63";
        let inquiry = Inquiry::parse(data).unwrap();
        assert_eq!(inquiry.name, "web");
        assert!(inquiry.wants_block_size && !inquiry.wants_name);
        for end in 0..data.len() {
            assert_eq!(Inquiry::parse(&data[..end]), Err(Malformed), "{end}");
        }
    }
}
