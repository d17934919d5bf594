//! tine: disks that fork.
//!
//! A fork is an independent writable copy that shares everything with its origin, costs nothing until it is
//! written, and then exactly what is written. This crate is the door for programs: it re-exports the storage engine
//! as [`store`]. The command `tine`, in the same package, is built on nothing else.
//!
//! ```
//! use tine::store::{BranchName, CreateOptions, OpenOptions, Store, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("store");
//! let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default())?;
//! let golden: BranchName = "golden".parse()?;
//! let trial: BranchName = "trial".parse()?;
//!
//! store.create_branch(&golden, 10 << 30)?.write_at(b"as it was", 4096)?;
//! store.fork(&Target::Branch(golden.clone()), &trial)?;
//! store.branch(&trial)?.write_at(b"as it is!", 4096)?;
//!
//! let mut bytes = [0; 9];
//! store.branch(&golden)?.read_at(&mut bytes, 4096)?;
//! assert_eq!(&bytes, b"as it was");
//!
//! let (before, after) = (store.state(&Target::Branch(golden))?, store.state(&Target::Branch(trial))?);
//! let changed: Vec<_> = store.diff(&before, &after)?.collect::<Result<_, _>>()?;
//! assert_eq!(changed.len(), 1);
//! store.close()?;
//! # Ok(())
//! # }
//! ```

pub use tine_store as store;
