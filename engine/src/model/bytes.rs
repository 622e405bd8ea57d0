//! Numbers as bytes, to be kept in a snapshot; floats keep every bit.

/// Writes numbers.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn float(&mut self, float: f64) {
        self.number(float.to_bits());
    }

    pub(super) fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.bytes.extend_from_slice(&word.to_le_bytes()));
    }

    /// Words and how many they are.
    pub(super) fn list(&mut self, words: &[u32]) {
        self.number(words.len() as u64);
        self.words(words);
    }

    /// Floats and how many they are.
    pub(super) fn floats(&mut self, floats: &[f64]) {
        self.number(floats.len() as u64);
        floats.iter().for_each(|float| self.float(*float));
    }
}

/// Reads what was written; gives nothing where it ends too early.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*number))
    }

    pub(super) fn float(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u32::from_le_bytes(*word))
    }

    pub(super) fn words<const N: usize>(&mut self) -> Option<[u32; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = self.word()?;
        }
        Some(words)
    }

    pub(super) fn list(&mut self) -> Option<Vec<u32>> {
        (0..self.number()?).map(|_| self.word()).collect()
    }

    pub(super) fn floats(&mut self) -> Option<Vec<f64>> {
        (0..self.number()?).map(|_| self.float()).collect()
    }
}
