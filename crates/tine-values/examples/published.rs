//! Four threads read a map while one writes to it and publishes versions. A reader has a version as long as it likes;
//! the lock is held for the nanoseconds that a clone takes, never for a read or a write of the map itself.
//!
//! `cargo run -p tine-values --example published`

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tine_values::{Map, Text, text};

const ACCOUNTS: u64 = 1_000;
const TRANSFERS: u64 = 20_000;

pub(crate) fn main() {
    let opening: Map<Text, u64> = (0..ACCOUNTS)
        .map(|number| (text!("account {number}"), 100))
        .collect();
    let published = RwLock::new(opening.clone());
    let is_done = AtomicBool::new(false);
    let looks = thread::scope(|scope| {
        let read = || {
            let mut looks = 0_u64;
            while !is_done.load(Ordering::Acquire) {
                let version = published.read().expect("nobody panics").clone();
                // No transfer is ever seen by half.
                assert_eq!(version.values().sum::<u64>(), ACCOUNTS * 100);
                looks += 1;
            }
            looks
        };
        let readers = [(); 4].map(|()| scope.spawn(read));
        // The writer's own version: written without a lock, and in place where no reader has it.
        let mut accounts = opening;
        for number in 0..TRANSFERS {
            let (from, to) = (number * 7 % ACCOUNTS, number * 13 % ACCOUNTS);
            let amount = accounts[&text!("account {from}")].min(10);
            accounts
                .entry(text!("account {from}"))
                .and_modify(|balance| *balance -= amount);
            accounts
                .entry(text!("account {to}"))
                .and_modify(|balance| *balance += amount);
            if number % 10 == 0 {
                *published.write().expect("nobody panics") = accounts.clone();
            }
        }
        is_done.store(true, Ordering::Release);
        readers.map(|reader| reader.join().expect("every version was whole"))
    });
    println!(
        "{TRANSFERS} transfers were written while 4 threads looked at {} versions",
        looks.iter().sum::<u64>()
    );
}
