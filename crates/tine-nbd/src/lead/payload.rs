//! Large payloads: each is received straight into pieces of memory, which are written as they are full, or passed over.

use std::sync::Arc;

use super::{Leading, Stop, replying};
use crate::buffer::{Piece, first_piece};
use crate::connection::Pause;
use crate::error::{Errno, Fault};
use crate::protocol::reply::Replying;
use crate::protocol::request::{Command, Header, invalid};
use crate::work::{Task, Whole};

/// A large payload that is being received.
pub(super) struct Incoming {
    replying: Replying,
    /// Where what comes next belongs on the disk.
    offset: u64,
    /// What is still to come.
    pub(super) left: usize,
    pub(super) then: Incomings,
}

/// What becomes of a payload.
pub(super) enum Incomings {
    /// It is written: pieces of one request.
    Written {
        whole: Arc<Whole>,
        /// The piece that is being filled, and how far it is.
        piece: Option<(Piece, usize)>,
    },
    /// It is passed over: the request cannot be done.
    PassedOver(Fault),
}

impl Leading<'_> {
    /// Begins to receive a large payload, of which what was received already is the begin.
    pub(super) fn begin_payload(&mut self, header: &Header, payload: usize) {
        let connection = self.connection;
        let replying = replying(header, connection.headers);
        let command = match connection.refuses_requests() {
            true => Err(Fault::new(Errno::ShuttingDown, "the server is ending")),
            false => header.command(connection.headers),
        };
        let size = connection.export.size();
        let checked = command.and_then(|command| match command {
            Command::Write { fua } => {
                self.check_write(header, size, Errno::NoSpace)?;
                Ok(fua)
            }
            _ => Err(invalid("no command but a write has a payload of such a length")),
        });
        self.incoming = Some(Incoming {
            replying,
            offset: header.offset,
            left: payload,
            then: match checked {
                Ok(fua) => Incomings::Written {
                    whole: Arc::new(Whole::new(replying, fua)),
                    piece: None,
                },
                Err(fault) => Incomings::PassedOver(fault),
            },
        });
    }

    /// Works on a large payload. Returns why it cannot go on; if it can, the payload is done.
    pub(super) fn work_off_payload(&mut self) -> Option<Stop> {
        while let Some(mut incoming) = self.incoming.take() {
            if let Incomings::PassedOver(fault) = &incoming.then {
                let passed = incoming.left.min(self.received.bytes().len());
                self.received.take(passed);
                incoming.left -= passed;
                if incoming.left > 0 {
                    self.incoming = Some(incoming);
                    return Some(Stop::Hungry);
                }
                self.put_fault(incoming.replying, fault);
                return None;
            }
            let Incomings::Written { whole, piece } = &mut incoming.then else {
                return None;
            };
            let Some((mut memory, mut filled)) = piece.take() else {
                if self.is_full() {
                    self.incoming = Some(incoming);
                    return Some(Stop::Pause(Pause::Load));
                }
                let length = first_piece(incoming.offset, incoming.left as u64);
                let memory = self.connection.server.pieces.get(incoming.offset, length);
                *piece = Some((memory, 0));
                self.incoming = Some(incoming);
                continue;
            };
            let there = self.received.bytes().len().min(memory.len() - filled);
            memory[filled..][..there].copy_from_slice(self.received.take(there));
            filled += there;
            incoming.left -= there;
            if filled < memory.len() {
                *piece = Some((memory, filled));
                self.incoming = Some(incoming);
                return Some(Stop::Hungry);
            }
            let (whole, offset) = (Arc::clone(whole), incoming.offset);
            incoming.offset += memory.len() as u64;
            self.write_piece(&whole, memory, offset);
            if incoming.left == 0 {
                self.end_payload(&whole);
                return None;
            }
            self.incoming = Some(incoming);
        }
        None
    }

    fn write_piece(&mut self, whole: &Arc<Whole>, piece: Piece, offset: u64) {
        if whole.has_failed() {
            return;
        }
        match self.connection.export.write_at_once(&piece, offset) {
            Ok(true) => (),
            Ok(false) => {
                whole.begin();
                let (held, replying) = (piece.memory(), whole.replying);
                let task = Task::WritePiece {
                    whole: Arc::clone(whole),
                    piece,
                    offset,
                };
                // Nothing can fail here.
                let _ = self.later(held, replying, task);
            }
            Err(fault) => whole.fail(fault),
        }
    }

    /// Takes note that all of a payload is here.
    fn end_payload(&mut self, whole: &Whole) {
        let done = match whole.end() {
            Some(Ok(())) => self.written(whole.replying, whole.fua),
            Some(Err(fault)) => Err(fault),
            // Whoever writes the last piece answers.
            None => Ok(()),
        };
        if let Err(fault) = done {
            self.put_fault(whole.replying, &fault);
        }
    }
}
