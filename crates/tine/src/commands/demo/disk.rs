//! The demo's disk: an ext4 file system with files in it, or a pattern where there is no mke2fs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::broken;
use super::stage::{Show, Stage};
use crate::error::{CommandError, Outcome};
use crate::image::installed;

const FIRST_LINE: &str = "This disk is golden: every fork begins as what is written here.";
const EDITED_LINE: &str = "This disk was forked and edited; nobody else can see this line.";
const _: () = assert!(FIRST_LINE.len() == EDITED_LINE.len());

const DISK_BYTES: u64 = 128 << 20;

/// The disk `golden.img`.
pub(super) struct Disk {
    tools: Option<Tools>,
    /// Where in the image the first line of `story.txt` is.
    line_offset: u64,
}

struct Tools {
    e2fsck: PathBuf,
    debugfs: PathBuf,
}

impl Disk {
    /// Makes the disk on the stage.
    pub(super) fn make(stage: &Stage<'_>) -> Outcome<Self> {
        let folder = stage.folder();
        let made = |error| CommandError::io(format!("make files in `{}`", folder.display()), error);
        let (Some(mke2fs), Some(e2fsck), Some(debugfs)) =
            (installed("mke2fs"), installed("e2fsck"), installed("debugfs"))
        else {
            patterned(&folder.join("golden.img")).map_err(made)?;
            return Ok(Self {
                tools: None,
                line_offset: 0,
            });
        };
        files(&folder.join("files")).map_err(made)?;
        let args = ["-q", "-t", "ext4", "-d", "files", "golden.img", "128M"];
        stage.program(&format!("mke2fs {}", args.join(" ")), &mke2fs, &args, Show::All)?;
        let line_offset = find_line(&folder.join("golden.img")).map_err(made)?;
        let line_offset = line_offset.ok_or_else(|| broken("`story.txt` is not in the image"))?;
        Ok(Self {
            tools: Some(Tools { e2fsck, debugfs }),
            line_offset,
        })
    }

    /// Changes the first line of the story in a fork: the same bytes that its own kernel would write.
    pub(super) fn edit(&self, stage: &Stage<'_>, fork: &str) -> Outcome<()> {
        let offset = self.line_offset.to_string();
        let producer = format!("echo '{EDITED_LINE}'");
        stage.tine_with(
            format!("{EDITED_LINE}\n").into_bytes(),
            &producer,
            &["write", fork, "--offset", &offset],
            Show::All,
        )
    }

    /// Lets e2fsck judge an image.
    pub(super) fn judge(&self, stage: &Stage<'_>, image: &str) -> Outcome<()> {
        if let Some(tools) = &self.tools {
            stage.program(
                &format!("e2fsck -fn {image}"),
                &tools.e2fsck,
                &["-fn", image],
                Show::All,
            )?;
        }
        Ok(())
    }

    /// Makes sure that a fork and the image exported from it have the edited line.
    pub(super) fn look_for_edit(&self, stage: &Stage<'_>, fork: &str, image: &str) -> Outcome<()> {
        let printed = match &self.tools {
            Some(tools) => {
                let line = format!("debugfs -R 'cat story.txt' {image} | head -1");
                stage.program(
                    &line,
                    &tools.debugfs,
                    &["-R", "cat story.txt", image],
                    Show::Head(1),
                )?
            }
            None => stage.tine(
                &["read", fork, "--length", &EDITED_LINE.len().to_string()],
                Show::All,
            )?,
        };
        match String::from_utf8_lossy(&printed).lines().next() {
            Some(EDITED_LINE) => Ok(()),
            other => Err(broken(format_args!("`{fork}` has {other:?} for its first line"))),
        }
    }

    /// Says which package would have made the demo better.
    pub(super) fn name_what_is_missing(&self, stage: &Stage<'_>) -> Outcome<()> {
        match self.tools {
            Some(_) => Ok(()),
            None => stage.remark(
                "\nThe disk was a mere pattern: mke2fs, e2fsck and debugfs are not all there \
                 (`apt install e2fsprogs` brings a real file system and its judge).",
            ),
        }
    }
}

/// Returns a megabyte that looks like nothing.
pub(super) fn garbage() -> Vec<u8> {
    noise(0x7469_6e65, 1 << 20)
}

/// Makes a directory of files: a story, and 24 MiB in files of several sizes.
fn files(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    // Longer than a block, so that it does not hide in its inode.
    let story: String = (1..=200)
        .map(|line| format!("Line {line} of the story.\n"))
        .collect();
    fs::write(folder.join("story.txt"), format!("{FIRST_LINE}\n{story}"))?;
    for group in 0..8_u64 {
        let folder = folder.join(format!("group-{group}"));
        fs::create_dir(&folder)?;
        for file in 0..32_u64 {
            let length = if file == 0 { 2 << 20 } else { 4096 + 1024 * file };
            fs::write(
                folder.join(format!("file-{file}")),
                noise(group * 100 + file + 1, length),
            )?;
        }
    }
    Ok(())
}

/// Makes an image of 24 MiB of noise in a disk of zeroes, the first line of the story at its start.
fn patterned(image: &Path) -> io::Result<()> {
    let file = File::create_new(image)?;
    file.set_len(DISK_BYTES)?;
    for megabyte in 0..24 {
        file.write_all_at(&noise(megabyte + 1, 1 << 20), (megabyte * 5) << 20)?;
    }
    file.write_all_at(format!("{FIRST_LINE}\n").as_bytes(), 0)
}

/// Returns where the story begins in an image. Files begin at a block.
fn find_line(image: &Path) -> io::Result<Option<u64>> {
    let image = File::open(image)?;
    let length = image.metadata()?.len();
    let mut piece = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < length {
        let read = image.read_at(&mut piece, offset)?;
        if read == 0 {
            break;
        }
        // ext4 has blocks of 1, 2 or 4 KiB.
        let found = piece[..read]
            .chunks(1024)
            .position(|chunk| chunk.starts_with(FIRST_LINE.as_bytes()));
        if let Some(place) = found {
            return Ok(Some(offset + place as u64 * 1024));
        }
        offset += read as u64;
    }
    Ok(None)
}

/// Returns bytes that look random and are the same each time (xorshift64*).
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    for _ in 0..length.div_ceil(8) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    bytes
}
