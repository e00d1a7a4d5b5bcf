//! Usernames: `@` and 1 to 49 of `a-z 0-9 _ -`, unique on a chain.
//!
//! The replaced system took either case; here the stored form is lower case, so that two names never differ by case alone.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest username in bytes, `@` included.
pub const USERNAME_BYTES_MAX: usize = 50;

/// A text that is not a username.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a username: write @ and 1 to 49 of a-z, 0-9, _ and -, such as @alice")]
pub struct UsernameError(String);

/// A valid username in its stored form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

impl Username {
    /// Takes `text` only if it is already in stored form.
    pub fn new(text: &str) -> Result<Self, UsernameError> {
        let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        match text.strip_prefix('@') {
            Some(name) if !name.is_empty() && text.len() <= USERNAME_BYTES_MAX && name.bytes().all(valid) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(UsernameError(text.chars().take(60).collect())),
        }
    }

    /// The name with its `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    /// Takes what a person types: any case, `@` optional.
    fn from_str(text: &str) -> Result<Self, UsernameError> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with('@') { Self::new(&lower) } else { Self::new(&format!("@{lower}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stored_form_is_taken_from_the_wire() {
        assert!(Username::new("@alice_1-x").is_ok());
        for bad in ["alice", "@", "@Alice", "@a b", "@é", "", &format!("@{}", "a".repeat(50))] {
            assert!(Username::new(bad).is_err(), "{bad}");
        }
        assert_eq!("Alice".parse::<Username>().unwrap().as_str(), "@alice");
    }
}
