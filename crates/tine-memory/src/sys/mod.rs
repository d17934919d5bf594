//! The kernel's part: mappings, files in memory, memory for copies, which pages are private, and private pages put in place.

mod block;
mod bounds;
mod image;
mod install;
mod mapping;
mod own_pages;
mod process;

pub(crate) use block::Block;
pub(crate) use bounds::faults;
pub(crate) use image::Image;
pub(crate) use install::install;
pub(crate) use mapping::Mapping;
pub(crate) use own_pages::{own_pages, resident_pages};
