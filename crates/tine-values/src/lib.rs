//! Values that share.
