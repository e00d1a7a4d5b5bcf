//! The last committed height, in order and without a gap.

/// Keeps that heights are published one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    height: u64,
}

impl Watermark {
    /// Starts at a height that is already committed.
    pub fn new(height: u64) -> Self {
        Self { height }
    }

    /// The last committed height.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Takes the next height. False when it is not the next one, which means that the log lost its order: the node must stop.
    #[must_use]
    pub fn advance(&mut self, height: u64) -> bool {
        let is_next = height == self.height + 1;
        if is_next {
            self.height = height;
        }
        is_next
    }
}
