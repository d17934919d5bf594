//! The archive that a kernel unpacks before it starts `/init`: cpio, "newc" (Documentation/driver-api/early-userspace/
//! buffer-format.rst of the kernel).

/// An archive that is being written.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an empty folder; those above it come first.
    pub(crate) fn folder(&mut self, path: &str) {
        self.add(path, 0o040_755, &[]);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.add(path, 0o100_644, content);
    }

    /// Adds a file that can be run.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.add(path, 0o100_755, content);
    }

    /// Returns the whole archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("less than 4 GiB");
        let fields = [
            self.entries, // inode
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            length(content.len()),
            0, // device, as major and minor
            0,
            0, // the device that it is, as major and minor
            0,
            length(path.len() + 1),
            0, // no checksum
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
