//! The currencies of the chain with the total of each, and the movements of one block by which conservation is proven.
//!
//! Two books are kept apart. Every change of a balance or of a held withdrawal adds its difference to `moved`; only the kinds that may
//! create or destroy money add to `minted` and `burned`, and with them to the totals. At the end of a block `moved` must equal
//! `minted - burned` for every currency (arithmetic modulo 2^128, where differences need no sign): a transfer that credits more than it
//! debits cannot hide.

use hashbrown::HashMap;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::currency::{CURRENCY_CODE_BYTES, CurrencyCode, CurrencyId, CurrencyInfo};
use tana_types::genesis::CURRENCIES_MAX;

use crate::restore::RestoreError;

/// One currency and what exists of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrencyTotal {
    /// What it is.
    pub info: CurrencyInfo,
    /// Minor units in all balances and held withdrawals.
    pub total: u128,
}

/// All currencies; identifiers are places in the order of creation, from 1.
#[derive(Clone)]
pub(crate) struct Currencies {
    list: Vec<CurrencyTotal>,
    by_code: HashMap<CurrencyCode, CurrencyId, ahash::RandomState>,
    /// The currency that was asked for last: nearly every transfer of a block names the same one.
    last: ([u8; CURRENCY_CODE_BYTES], CurrencyId),
}

impl Currencies {
    pub(crate) fn new(infos: impl IntoIterator<Item = CurrencyInfo>) -> Self {
        let mut currencies =
            Self { list: Vec::new(), by_code: HashMap::default(), last: ([0; CURRENCY_CODE_BYTES], 0) };
        infos.into_iter().for_each(|info| currencies.push(info, 0));
        currencies
    }

    fn push(&mut self, info: CurrencyInfo, total: u128) {
        // At most CURRENCIES_MAX, so it fits.
        self.by_code.insert(info.code, self.list.len() as CurrencyId + 1);
        self.list.push(CurrencyTotal { info, total });
    }

    /// The identifier of a code, if there is such a currency.
    pub(crate) fn id(&self, code: &CurrencyCode) -> Option<CurrencyId> {
        self.by_code.get(code).copied()
    }

    /// Like [`Currencies::id`], for the padded bytes of a transfer: `Err` when they are no code, `Ok(0)` when it names nothing.
    #[inline]
    pub(crate) fn id_of_bytes(&mut self, bytes: &[u8; CURRENCY_CODE_BYTES]) -> Result<CurrencyId, ()> {
        if *bytes == self.last.0 {
            return Ok(self.last.1);
        }
        let code = CurrencyCode::from_bytes(*bytes).ok_or(())?;
        let id = self.id(&code).unwrap_or(0);
        if id != 0 {
            self.last = (*bytes, id);
        }
        Ok(id)
    }

    /// Whether another currency may be created.
    pub(crate) fn has_room(&self) -> bool {
        self.list.len() < CURRENCIES_MAX
    }

    /// Adds a currency of which nothing exists. The caller has checked room and code.
    pub(crate) fn create(&mut self, info: CurrencyInfo) {
        self.push(info, 0);
    }

    /// All currencies, by identifier from 1.
    pub(crate) fn list(&self) -> &[CurrencyTotal] {
        &self.list
    }

    pub(crate) fn get(&self, id: CurrencyId) -> Option<&CurrencyTotal> {
        self.list.get((id as usize).checked_sub(1)?)
    }

    /// What exists of a currency.
    pub(crate) fn total(&self, id: CurrencyId) -> u128 {
        self.get(id).map_or(0, |entry| entry.total)
    }

    pub(crate) fn set_total(&mut self, id: CurrencyId, total: u128) {
        if let Some(entry) = (id as usize).checked_sub(1).and_then(|place| self.list.get_mut(place)) {
            entry.total = total;
        }
    }

    /// The section's bytes: count 4, then per currency what [`CurrencyInfo::write`] writes and the total 16.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 * self.list.len());
        writer.u32(self.list.len() as u32);
        for entry in &self.list {
            entry.info.write(&mut writer);
            writer.u128(entry.total);
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(bytes);
        let count = reader.u32("currency count")? as usize;
        let mut currencies = Self::new([]);
        for _ in 0..count {
            let info = CurrencyInfo::read(&mut reader)?;
            if !currencies.has_room() || currencies.id(&info.code).is_some() {
                return Err(DecodeError::Invalid { field: "currencies", rule: "at most 1,024, each once" }.into());
            }
            let total = reader.u128("currency total")?;
            currencies.push(info, total);
        }
        reader.finish()?;
        Ok(currencies)
    }
}

/// What a block did to one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Movement {
    /// Which currency.
    pub currency: CurrencyId,
    /// Minor units created by confirmed deposits and adjustments upwards.
    pub minted: u128,
    /// Minor units destroyed by confirmed withdrawals and adjustments downwards.
    pub burned: u128,
    /// What all changes of balances and held withdrawals add up to, modulo 2^128: `minted - burned` or the books are wrong.
    pub moved: u128,
}

impl Movement {
    /// Whether the two books agree.
    pub fn is_conserved(&self) -> bool {
        self.moved == self.minted.wrapping_sub(self.burned)
    }
}

/// The two books of one block.
#[derive(Default)]
pub(crate) struct Movements {
    /// By currency identifier.
    by_currency: Vec<Movement>,
    /// Currencies with an entry in this block.
    used: Vec<CurrencyId>,
}

impl Movements {
    #[inline]
    fn entry(&mut self, currency: CurrencyId) -> &mut Movement {
        let place = currency as usize;
        if place >= self.by_currency.len() {
            self.by_currency.resize(place + 1, Movement::default());
        }
        let entry = &mut self.by_currency[place];
        if entry.currency == 0 {
            entry.currency = currency;
            self.used.push(currency);
        }
        entry
    }

    /// A balance or held amount went from `before` to `after`.
    #[inline]
    pub(crate) fn change(&mut self, currency: CurrencyId, before: u128, after: u128) {
        let entry = self.entry(currency);
        entry.moved = entry.moved.wrapping_add(after).wrapping_sub(before);
    }

    pub(crate) fn mint(&mut self, currency: CurrencyId, amount: u128) {
        let entry = self.entry(currency);
        entry.minted = entry.minted.wrapping_add(amount);
    }

    pub(crate) fn burn(&mut self, currency: CurrencyId, amount: u128) {
        let entry = self.entry(currency);
        entry.burned = entry.burned.wrapping_add(amount);
    }

    /// Ends the block: appends what happened, by currency, and forgets it.
    pub(crate) fn drain(&mut self, out: &mut Vec<Movement>) {
        self.used.sort_unstable();
        for currency in self.used.drain(..) {
            out.push(std::mem::take(&mut self.by_currency[currency as usize]));
        }
    }
}
