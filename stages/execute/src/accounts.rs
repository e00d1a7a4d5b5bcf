//! The accounts in memory: fixed parts by index, overflows, usernames, key order, and what the current block has touched.
//!
//! Fixed parts lie in chunks that are added and never move, one cache line each. Every change goes through [`Accounts::touch`], which on
//! an account's first change in a block notes it as changed and lets the checkpoint put the old value aside, and every change of a balance
//! goes through [`Accounts::set_balance`], which enters it in the books of the block.
//!
//! Where a balance stands is a rule of the ledger, because records are hashed: in the slot that holds its currency; otherwise in the
//! first empty inline slot; otherwise in the overflow, ascending by currency. A balance that becomes zero leaves its slot empty, and
//! nothing moves up. So the overflow grows only while both inline slots are taken.

use hashbrown::{HashMap, HashTable};
use tana_accounts::DirectoryWriter;
use tana_types::Hash;
use tana_types::account::{
    ACCOUNT_CURRENCIES_MAX, AccountIndex, FLAG_OVERFLOW, HotAccount, INLINE_BALANCES, Overflow, RECORD_BYTES, SENTINEL,
};
use tana_types::currency::CurrencyId;
use tana_types::key::PublicKey;
use tana_types::payload::Role;
use zerocopy::FromZeros;

use crate::currencies::Movements;
use crate::order::KeyOrder;
use crate::pages::Pages;

/// Accounts of a chunk: 4 MiB of fixed parts.
const CHUNK_ACCOUNTS: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 16;
/// The most balances in an overflow.
const OVERFLOW_BALANCES_MAX: usize = ACCOUNT_CURRENCIES_MAX - INLINE_BALANCES;

/// A fixed part on a cache line of its own.
#[derive(FromZeros)]
#[repr(C, align(64))]
struct Line(HotAccount);

struct Chunk {
    lines: Box<[Line; CHUNK_ACCOUNTS]>,
    /// Per account the serial number of the last block that changed it.
    stamps: Box<[u32; CHUNK_ACCOUNTS]>,
}

/// An account's overflow as its canonical bytes.
struct StoredOverflow {
    /// As of the last finished block.
    hash: Hash,
    bytes: Box<[u8]>,
}

/// All accounts.
pub(crate) struct Accounts {
    pub(crate) directory: DirectoryWriter,
    chunks: Vec<Chunk>,
    count: u32,
    overflows: HashMap<AccountIndex, StoredOverflow, ahash::RandomState>,
    /// Account indexes by username; the names are in the overflows.
    usernames: HashTable<AccountIndex>,
    username_hasher: ahash::RandomState,
    order: KeyOrder,
    /// The current block's serial number in this process; stamps are compared with it.
    serial: u32,
    /// Accounts that the current block changed, in order of first change.
    pub(crate) changed: Vec<AccountIndex>,
    /// Accounts whose overflow the current block changed; may hold an account more than once.
    pub(crate) overflow_changed: Vec<AccountIndex>,
    /// Accounts whose overflow changed since the last checkpoint began; may hold an account more than once until then.
    overflow_dirty: Vec<AccountIndex>,
    pub(crate) pages: Pages,
    pub(crate) movements: Movements,
}

impl Chunk {
    fn zeroed() -> Self {
        // Fails only when the machine has no memory left, where any other allocation would abort too.
        #[allow(clippy::expect_used)]
        Self {
            lines: FromZeros::new_box_zeroed().expect("memory for a chunk of accounts"),
            stamps: FromZeros::new_box_zeroed().expect("memory for a chunk of stamps"),
        }
    }
}

/// The username inside an overflow's canonical bytes; empty if there is none.
fn username_of(bytes: &[u8]) -> &[u8] {
    match bytes {
        [_, length, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or(&[]),
        _ => &[],
    }
}

impl Accounts {
    /// Nothing but the sentinel. The directory must be new.
    pub(crate) fn new(directory: DirectoryWriter) -> Self {
        let mut accounts = Self {
            directory,
            chunks: Vec::new(),
            count: 0,
            overflows: HashMap::default(),
            usernames: HashTable::new(),
            username_hasher: ahash::RandomState::new(),
            order: KeyOrder::new(),
            serial: 0,
            changed: Vec::new(),
            overflow_changed: Vec::new(),
            overflow_dirty: Vec::new(),
            pages: Pages::default(),
            movements: Movements::default(),
        };
        accounts.append(HotAccount::new(Role::User, 0));
        accounts
    }

    /// Accounts, the sentinel included.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The fixed part of an account that exists.
    #[inline]
    pub(crate) fn get(&self, index: AccountIndex) -> &HotAccount {
        &self.chunks[(index >> CHUNK_BITS) as usize].lines[index as usize % CHUNK_ACCOUNTS].0
    }

    /// For changes: [`Accounts::touch`] must have come first in this block.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: AccountIndex) -> &mut HotAccount {
        &mut self.chunks[(index >> CHUNK_BITS) as usize].lines[index as usize % CHUNK_ACCOUNTS].0
    }

    /// Reads a little of everything that a change of the account will need, so that the caches have it; the value means nothing.
    #[inline]
    pub(crate) fn warm(&self, index: AccountIndex) -> u64 {
        match self.chunks.get((index >> CHUNK_BITS) as usize) {
            Some(chunk) => {
                let place = index as usize % CHUNK_ACCOUNTS;
                chunk.lines[place].0.nonce.get() ^ u64::from(chunk.stamps[place])
            }
            None => 0,
        }
    }

    /// Asks for everything that a change of the account will need, without waiting for it.
    #[inline]
    pub(crate) fn prefetch(&self, index: AccountIndex) {
        if let Some(chunk) = self.chunks.get((index >> CHUNK_BITS) as usize) {
            let place = index as usize % CHUNK_ACCOUNTS;
            tana_hash::prefetch_value(&chunk.lines[place]);
            tana_hash::prefetch_value(&chunk.stamps[place]);
        }
    }

    /// Puts an account at the next index, unlinked, without any mark: for building a state. The directory must agree.
    pub(crate) fn append(&mut self, hot: HotAccount) -> AccountIndex {
        let index = self.count;
        if (index >> CHUNK_BITS) as usize == self.chunks.len() {
            self.chunks.push(Chunk::zeroed());
        }
        self.count += 1;
        *self.get_mut(index) = hot;
        index
    }

    /// Starts a block: nothing is changed yet.
    pub(crate) fn begin_block(&mut self) {
        self.changed.clear();
        self.overflow_changed.clear();
        self.serial = self.serial.checked_add(1).unwrap_or_else(|| {
            // Once in four billion blocks of a process the numbers start again.
            self.chunks.iter_mut().for_each(|chunk| chunk.stamps.fill(0));
            1
        });
    }

    /// Notes that the account is about to change. Cheap when it changed in this block before.
    #[inline]
    pub(crate) fn touch(&mut self, index: AccountIndex) {
        let chunk = &mut self.chunks[(index >> CHUNK_BITS) as usize];
        let place = index as usize % CHUNK_ACCOUNTS;
        if chunk.stamps[place] != self.serial {
            chunk.stamps[place] = self.serial;
            self.changed.push(index);
            self.pages.touch(index, &chunk.lines[place].0);
        }
    }

    /// The account with this key.
    pub(crate) fn find(&self, key: &PublicKey) -> Option<AccountIndex> {
        self.directory.view().find(&key.0)
    }

    /// The account with this username.
    pub(crate) fn find_username(&self, name: &str) -> Option<AccountIndex> {
        let hash = self.username_hasher.hash_one(name.as_bytes());
        let same = |index: &AccountIndex| {
            self.overflows.get(index).is_some_and(|stored| username_of(&stored.bytes) == name.as_bytes())
        };
        self.usernames.find(hash, same).copied()
    }

    /// Adds a new account to everything: its key must be unknown and its username free. Links it into the key order.
    pub(crate) fn create(&mut self, key: &PublicKey, hot: HotAccount, overflow: &Overflow) -> AccountIndex {
        let index = self.append(hot);
        self.directory.insert(*key);
        let before = self.order.insert(index, &key.0, self.directory.directory());
        self.touch(before);
        self.touch(index);
        self.get_mut(index).next = self.get(before).next;
        self.get_mut(before).next.set(index);
        self.set_overflow(index, overflow);
        self.index_username(index);
        index
    }

    /// Enters the account's username, if it has one, into the look-up.
    pub(crate) fn index_username(&mut self, index: AccountIndex) {
        let (overflows, hasher) = (&self.overflows, &self.username_hasher);
        let name = overflows.get(&index).map_or(&[] as &[u8], |stored| username_of(&stored.bytes));
        if !name.is_empty() {
            self.usernames.insert_unique(hasher.hash_one(name), index, |other| {
                hasher.hash_one(overflows.get(other).map_or(&[] as &[u8], |stored| username_of(&stored.bytes)))
            });
        }
    }

    /// The balance of a currency.
    #[inline]
    pub(crate) fn balance(&self, index: AccountIndex, currency: CurrencyId) -> u128 {
        let hot = self.get(index);
        for slot in 0..INLINE_BALANCES {
            if hot.currencies[slot].get() == currency {
                return hot.amounts[slot].get();
            }
        }
        if hot.has_overflow() { self.overflow_balance(index, currency) } else { 0 }
    }

    fn overflow_balance(&self, index: AccountIndex, currency: CurrencyId) -> u128 {
        let balances = self.overflow(index).balances;
        balances.binary_search_by_key(&currency, |entry| entry.0).map_or(0, |place| balances[place].1)
    }

    /// Whether the account may receive this currency: it holds it already, or fewer than the most.
    #[inline]
    pub(crate) fn can_hold(&self, index: AccountIndex, currency: CurrencyId) -> bool {
        let hot = self.get(index);
        if hot.currencies.iter().any(|slot| slot.get() == currency || slot.get() == 0) || !hot.has_overflow() {
            return true;
        }
        let balances = self.overflow(index).balances;
        balances.len() < OVERFLOW_BALANCES_MAX || balances.iter().any(|entry| entry.0 == currency)
    }

    /// Sets a balance and enters the difference in the books. The caller has checked [`Accounts::can_hold`].
    #[inline]
    pub(crate) fn set_balance(&mut self, index: AccountIndex, currency: CurrencyId, amount: u128) {
        self.touch(index);
        let hot = self.get_mut(index);
        for slot in 0..INLINE_BALANCES {
            if hot.currencies[slot].get() == currency {
                let before = hot.amounts[slot].get();
                hot.amounts[slot].set(amount);
                if amount == 0 {
                    hot.currencies[slot].set(0);
                }
                self.movements.change(currency, before, amount);
                return;
            }
        }
        self.set_other_balance(index, currency, amount);
    }

    /// Sets a balance that has no inline slot yet.
    #[cold]
    fn set_other_balance(&mut self, index: AccountIndex, currency: CurrencyId, amount: u128) {
        let mut overflow = self.overflow(index);
        let found = overflow.balances.binary_search_by_key(&currency, |entry| entry.0);
        let before = found.map_or(0, |place| overflow.balances[place].1);
        self.movements.change(currency, before, amount);
        match (found, amount) {
            (Ok(place), 0) => {
                overflow.balances.remove(place);
            }
            (Ok(place), _) => overflow.balances[place].1 = amount,
            (Err(_), 0) => return,
            (Err(place), _) => {
                let hot = self.get_mut(index);
                if let Some(slot) = hot.currencies.iter().position(|slot| slot.get() == 0) {
                    hot.currencies[slot].set(currency);
                    hot.amounts[slot].set(amount);
                    return;
                }
                overflow.balances.insert(place, (currency, amount));
            }
        }
        self.set_overflow(index, &overflow);
    }

    /// What the account has beyond its fixed part.
    pub(crate) fn overflow(&self, index: AccountIndex) -> Overflow {
        // Bytes come from `Overflow::encode` or were decoded when they were restored.
        self.overflow_bytes(index).and_then(|bytes| Overflow::decode(bytes).ok()).unwrap_or_default()
    }

    /// The canonical bytes of the account's overflow, if it has one.
    pub(crate) fn overflow_bytes(&self, index: AccountIndex) -> Option<&[u8]> {
        self.overflows.get(&index).map(|stored| &*stored.bytes)
    }

    /// The hash that the account's leaf commits to, as of the last finished block.
    pub(crate) fn overflow_hash(&self, index: AccountIndex) -> Option<Hash> {
        if self.get(index).has_overflow() { self.overflows.get(&index).map(|stored| stored.hash) } else { None }
    }

    /// Replaces the overflow of a touched account; an empty one is no overflow.
    fn set_overflow(&mut self, index: AccountIndex, overflow: &Overflow) {
        let had = self.get(index).has_overflow();
        if overflow.is_empty() {
            if had {
                self.overflows.remove(&index);
                self.get_mut(index).flags &= !FLAG_OVERFLOW;
                self.overflow_changed.push(index);
            }
            return;
        }
        self.restore_overflow(index, overflow.encode().into_boxed_slice());
        self.get_mut(index).flags |= FLAG_OVERFLOW;
        self.overflow_changed.push(index);
    }

    /// Stores canonical bytes without any mark; their hash comes with [`Accounts::hash_overflows`].
    pub(crate) fn restore_overflow(&mut self, index: AccountIndex, bytes: Box<[u8]>) {
        self.overflows.insert(index, StoredOverflow { hash: [0; 32], bytes });
    }

    /// Hashes the overflows of these accounts, which must exist where the accounts have any.
    pub(crate) fn hash_overflows(&mut self, indexes: &[AccountIndex]) {
        let mut hashes = Vec::with_capacity(indexes.len());
        {
            let bytes: Vec<&[u8]> = indexes.iter().map(|&index| self.overflow_bytes(index).unwrap_or(&[])).collect();
            hashes.resize(bytes.len(), [0; 32]);
            tana_hash::hash_each(&bytes, &mut hashes);
        }
        for (index, hash) in indexes.iter().zip(hashes) {
            if let Some(stored) = self.overflows.get_mut(index) {
                stored.hash = hash;
            }
        }
    }

    /// Ends the block's overflow changes: sorts them, hashes them and remembers them for the next checkpoint.
    pub(crate) fn finish_overflows(&mut self) {
        let mut changed = std::mem::take(&mut self.overflow_changed);
        changed.sort_unstable();
        changed.dedup();
        self.hash_overflows(&changed);
        self.overflow_dirty.extend_from_slice(&changed);
        self.overflow_changed = changed;
    }

    /// Accounts whose overflow changed since the last time this was asked, ascending.
    pub(crate) fn take_overflow_dirty(&mut self) -> Vec<AccountIndex> {
        let mut dirty = std::mem::take(&mut self.overflow_dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// Marks the overflow of an account for the next checkpoint and page marks for all accounts: after a genesis.
    pub(crate) fn mark_all(&mut self) {
        self.pages.mark_all(self.count);
        let mut dirty: Vec<_> = self.overflows.keys().copied().collect();
        dirty.sort_unstable();
        self.hash_overflows(&dirty);
        self.overflow_dirty = dirty;
        self.changed.clear();
        self.overflow_changed.clear();
    }

    /// Takes over the key order of all accounts and writes the links: indexes sorted by key, the sentinel first.
    pub(crate) fn link_all(&mut self, sorted: &[AccountIndex]) {
        debug_assert_eq!(sorted.first(), Some(&SENTINEL));
        for pair in sorted.windows(2) {
            self.get_mut(pair[0]).next.set(pair[1]);
        }
        self.set_order(sorted);
    }

    /// Takes over the key order of all accounts, whose links say the same.
    pub(crate) fn set_order(&mut self, sorted: &[AccountIndex]) {
        self.order = KeyOrder::from_sorted(sorted, self.directory.directory());
    }

    /// The account's record, as it is stored and hashed.
    #[inline]
    pub(crate) fn record(&self, index: AccountIndex) -> [u8; RECORD_BYTES] {
        self.get(index).record(&self.directory.directory().key(index))
    }

    /// Bytes in use, the directory's included; the unused end of the last chunk is counted and takes no memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let chunks = self.chunks.len() * CHUNK_ACCOUNTS * (size_of::<Line>() + size_of::<u32>());
        let overflow = size_of::<(AccountIndex, StoredOverflow)>() + 1;
        let texts: usize = self.overflows.values().map(|stored| stored.bytes.len()).sum();
        chunks
            + self.overflows.capacity() * overflow
            + texts
            + self.usernames.capacity() * 5
            + self.order.memory_bytes()
            + self.directory.directory().memory_bytes()
    }
}
