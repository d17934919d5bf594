//! What becomes of a request: it is refused, done at once, or left for when the lead is free.

use super::{Leading, replying};
use crate::error::{Errno, Fault};
use crate::limits::MAX_REQUEST_BYTES;
use crate::protocol::Headers;
use crate::protocol::reply::Replying;
use crate::protocol::request::{Command, Header, StatusFilter, check_range, flag, invalid};
use crate::work::{Job, LARGE_BYTES, STREAMED_BYTES, Task, read_memory};

impl Leading<'_> {
    /// Does a request whose payload, of `payload` bytes, is next in what was received; or sees to it that it is done. In
    /// both cases the payload is taken.
    pub(super) fn answer(&mut self, header: &Header, payload: usize) -> Result<(), Fault> {
        self.received.take(payload);
        let connection = self.connection;
        let headers = connection.headers;
        let replying = replying(header, headers);
        if connection.refuses_requests() {
            return Err(Fault::new(Errno::ShuttingDown, "the server is ending"));
        }
        let (offset, length) = (header.offset, header.length);
        let range = offset..offset.saturating_add(length);
        let size = connection.export.size();
        let command = header.command(headers)?;
        match command {
            Command::Read { whole } => {
                check_read(header, size)?;
                self.read(replying, length, whole)
            }
            Command::Write { fua } => {
                self.check_write(header, size, Errno::NoSpace)?;
                self.write(replying, payload, fua)
            }
            Command::Flush => self.later(0, replying, Task::Flush),
            Command::Trim { fua } => {
                self.check_write(header, size, Errno::Invalid)?;
                self.unless_empty(replying, length, Task::Trim { range, fua })
            }
            Command::WriteZeroes { fua, how } => {
                self.check_write(header, size, Errno::NoSpace)?;
                self.unless_empty(replying, length, Task::WriteZeroes { range, fua, how })
            }
            Command::Cache => {
                check_range(offset, length, size, Errno::Invalid)?;
                self.unless_empty(replying, length, Task::Cache { range })
            }
            Command::BlockStatus { one, filtered } => {
                let filter = match filtered {
                    true => Some(StatusFilter::parse(self.received.last(payload))?),
                    false => None,
                };
                self.block_status(replying, length, one, filter, size)
            }
            Command::Disconnect => Ok(()),
        }
    }

    pub(super) fn check_write(&self, header: &Header, size: u64, past_end: Errno) -> Result<(), Fault> {
        if self.connection.features.read_only {
            return Err(Fault::new(Errno::NotPermitted, "the export is read-only"));
        }
        check_range(header.offset, header.length, size, past_end)
    }

    fn read(&mut self, replying: Replying, length: u64, whole: bool) -> Result<(), Fault> {
        let structured = self.connection.headers >= Headers::Structured;
        if length == 0 {
            let head = if structured {
                replying.end()
            } else {
                replying.success()
            };
            self.put(&head);
            return Ok(());
        }
        let task = Task::Read { length, whole };
        if length >= LARGE_BYTES as u64 {
            if length > STREAMED_BYTES {
                self.connection.begin_streaming();
                return self.later(0, replying, task);
            }
            return self.later(read_memory(replying.offset, length), replying, task);
        }
        let (length, offset) = (length as usize, replying.offset);
        let head = replying.data(offset, length as u32, true);
        self.make_room(head.len() + length);
        let start = self.replies.length + head.len();
        let into = &mut self.replies.memory[start..][..length];
        if !self.connection.export.read_at_once(into, offset)? {
            return self.later(length, replying, task);
        }
        if structured && !whole && is_zero(into) {
            self.put(&replying.hole(offset, length as u32, true));
            return Ok(());
        }
        self.replies.put(&head);
        self.replies.length += length;
        Ok(())
    }

    fn write(&mut self, replying: Replying, payload: usize, fua: bool) -> Result<(), Fault> {
        if payload == 0 {
            self.put(&replying.success());
            return Ok(());
        }
        let bytes = self.received.last(payload);
        if self.connection.export.write_at_once(bytes, replying.offset)? {
            return self.written(replying, fua);
        }
        let bytes = bytes.to_vec();
        self.later(payload, replying, Task::Write { bytes, fua })
    }

    /// Goes on with a request that was written.
    pub(super) fn written(&mut self, replying: Replying, fua: bool) -> Result<(), Fault> {
        if fua {
            return self.later(0, replying, Task::Flush);
        }
        self.put(&replying.success());
        Ok(())
    }

    /// Does `task` later, unless it is about nothing.
    fn unless_empty(&mut self, replying: Replying, length: u64, task: Task) -> Result<(), Fault> {
        if length == 0 {
            self.put(&replying.success());
            return Ok(());
        }
        self.later(0, replying, task)
    }

    fn block_status(
        &mut self,
        replying: Replying,
        length: u64,
        one: bool,
        filter: Option<StatusFilter>,
        size: u64,
    ) -> Result<(), Fault> {
        let connection = self.connection;
        let length = filter.as_ref().map_or(length, |filter| filter.length);
        let mut contexts: Vec<usize> = (0..connection.contexts.len()).collect();
        if let Some(filter) = filter {
            let number = |id: &u32| connection.contexts.iter().position(|context| context.id == *id);
            let chosen: Option<Vec<_>> = filter.ids.iter().map(number).collect();
            contexts = chosen.ok_or_else(|| invalid("a context was not selected"))?;
        }
        if contexts.is_empty() {
            return Err(invalid("no context was selected"));
        }
        if length == 0 {
            return Err(invalid("block status of nothing"));
        }
        check_range(replying.offset, length, size, Errno::Invalid)?;
        let range = replying.offset..replying.offset + length;
        self.later(0, replying, Task::BlockStatus { range, contexts, one })
    }

    /// Leaves a task until the lead is free; it holds so much memory then.
    pub(super) fn later(&mut self, held: usize, replying: Replying, task: Task) -> Result<(), Fault> {
        self.full = self.connection.begin_waiting(held);
        self.later.push(Job { replying, held, task });
        Ok(())
    }
}

fn check_read(header: &Header, size: u64) -> Result<(), Fault> {
    if header.length > MAX_REQUEST_BYTES.into() {
        return Err(invalid(format!(
            "a read has at most {MAX_REQUEST_BYTES} bytes, not {}",
            header.length
        )));
    }
    check_range(header.offset, header.length, size, Errno::Invalid)?;
    if header.flags & flag::DF != 0 && header.length > STREAMED_BYTES {
        return Err(Fault::new(
            Errno::Overflow,
            format!("one chunk has at most {STREAMED_BYTES} bytes"),
        ));
    }
    Ok(())
}

/// Tells whether all of `bytes` is zero; it is found out soon if not.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0)
        && chunks
            .iter()
            .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}
