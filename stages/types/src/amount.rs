//! Amounts: unsigned integers in a currency's minor unit, decimal strings at the edges, never a floating-point number.

use thiserror::Error;

/// The most decimals a currency may have.
pub const DECIMALS_MAX: u8 = 18;

/// A text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AmountError {
    /// Not digits with an optional fraction.
    #[error("`{0}` is not an amount: write digits with an optional fraction and no sign, such as 12.50")]
    Syntax(String),
    /// More fraction digits than the currency has.
    #[error("`{text}` has more than the {decimals} decimals of this currency")]
    Decimals {
        /// The text given.
        text: String,
        /// The currency's decimals.
        decimals: u8,
    },
    /// Larger than 2^128 - 1 minor units.
    #[error("`{0}` is too large: an amount has at most 128 bits of minor units")]
    TooLarge(String),
}

/// Reads a decimal string as minor units of a currency with `decimals` decimals.
pub fn parse_amount(text: &str, decimals: u8) -> Result<u128, AmountError> {
    let syntax = || AmountError::Syntax(text.to_owned());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (text.contains('.') && fraction.is_empty()) {
        return Err(syntax());
    }
    if fraction.len() > decimals as usize {
        return Err(AmountError::Decimals { text: text.to_owned(), decimals });
    }
    let padding = decimals as usize - fraction.len();
    let mut value: u128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', padding)) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u128::from(digit - b'0')))
            .ok_or_else(|| AmountError::TooLarge(text.to_owned()))?;
    }
    Ok(value)
}

/// Prints minor units as a decimal string with exactly `decimals` fraction digits.
pub fn print_amount(value: u128, decimals: u8) -> String {
    let digits = format!("{value:0>width$}", width = decimals as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse_amount("12.50", 2), Ok(1250));
        assert_eq!(parse_amount("12.5", 2), Ok(1250));
        assert_eq!(parse_amount("0", 0), Ok(0));
        assert_eq!(parse_amount("340282366920938463463374607431768211455", 0), Ok(u128::MAX));
        assert!(matches!(parse_amount("340282366920938463463374607431768211456", 0), Err(AmountError::TooLarge(_))));
        assert!(matches!(parse_amount("1.001", 2), Err(AmountError::Decimals { .. })));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "१"] {
            assert!(matches!(parse_amount(bad, 2), Err(AmountError::Syntax(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(value: u128, decimals in 0u8..=DECIMALS_MAX) {
            prop_assert_eq!(parse_amount(&print_amount(value, decimals), decimals), Ok(value));
        }
    }
}
