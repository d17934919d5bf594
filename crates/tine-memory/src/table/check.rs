//! Whether a region has a table.

use super::layout::{Header, MAGIC, VERSION, group, header, next_free, with_shape};
use super::{Plain, SparseTable, grow};
use crate::{Error, Result};

impl<K: Plain, V: Plain> SparseTable<K, V> {
    /// Checks that the header and the groups' records are of this table's types, lead nowhere outside the region, and name each page once.
    pub(super) fn check(&self) -> Result {
        let no_table = |what| Err(Error::NotTable { what });
        let memory = self.memory();
        let header = header(memory);
        if header.magic != MAGIC {
            return no_table("it does not begin as one");
        }
        if header.version != VERSION {
            return Err(Error::Format {
                found: header.version,
                known: VERSION,
            });
        }
        if header.key_bytes as usize != size_of::<K>() || header.value_bytes as usize != size_of::<V>() {
            return no_table("its keys or values have other sizes");
        }
        let pages = self.first_page..=memory.len() as u64;
        let groups = 1..=self.groups_max;
        if !pages.contains(&header.pages) || !groups.contains(&header.groups) {
            return no_table("its header says that it has more than there is");
        }
        let mut seen = vec![false; (header.pages - self.first_page) as usize];
        let mut is_first = |page: u32| {
            let index = u64::from(page).checked_sub(self.first_page);
            let seen = index.and_then(|index| seen.get_mut(index as usize));
            seen.is_some_and(|seen| !std::mem::replace(seen, true))
        };
        let (mut entries, mut taken) = (0, 0);
        for number in 0..header.groups as usize {
            let group = group(memory, number);
            let count = usize::from(group.count);
            let is_right = count <= Self::PAGES_MAX
                && group.implied <= grow::implied::<K>(header.groups, number)
                && with_shape!(group.implied, K, V, Shaped => {
                    let blocks = Shaped::<K, V>::blocks(count);
                    usize::from(group.blocks) == blocks
                        && usize::from(group.first) == Shaped::<K, V>::first_slots(count)
                        && usize::from(group.entries) <= blocks * Shaped::<K, V>::SLOTS
                });
            if !is_right {
                return no_table("a group is as none can be");
            }
            if !group.pages[..count].iter().all(|&page| is_first(page)) {
                return no_table("a group's page is not there, or another's, too");
            }
            entries += u64::from(group.entries);
            taken += count as u64;
        }
        let mut page = header.free;
        let mut free = 0;
        while page != 0 {
            if !is_first(page) {
                return no_table("a free page is not there, or a group's");
            }
            free += 1;
            page = next_free(memory, page);
        }
        let Header {
            entries: all_entries,
            taken: all_taken,
            ..
        } = *header;
        if (entries, taken) != (all_entries, all_taken) || self.first_page + taken + free != header.pages {
            return no_table("its parts are not as many as its header says");
        }
        Ok(())
    }
}
