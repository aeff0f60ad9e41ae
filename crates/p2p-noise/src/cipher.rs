//! ChaCha20-Poly1305 under one key, with the counter that Noise uses as nonce.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// What sealing adds, in bytes.
pub(crate) const TAG: usize = 16;

/// The length of a key, in bytes.
pub(crate) const KEY: usize = 32;

/// One direction of a session, or one step of a handshake.
#[derive(Debug)]
pub(crate) struct Cipher {
    key: LessSafeKey,
    /// The next nonce. Invariant: each value is used once; `u64::MAX` is never used.
    counter: u64,
}

/// Why a cipher did not do its work. The counter is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CipherError {
    /// The counter has reached its end.
    Exhausted,
    /// The tag does not fit the bytes.
    Forged,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; KEY]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are a ChaCha20 key");
        Self {
            key: LessSafeKey::new(key),
            counter: 0,
        }
    }

    /// Seals `in_out` in place; returns the tag.
    pub(crate) fn seal(&mut self, aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG], CipherError> {
        let nonce = self.nonce()?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), in_out)
            .map_err(|_| CipherError::Exhausted)?;
        self.counter += 1;
        tag.as_ref().try_into().map_err(|_| CipherError::Exhausted)
    }

    /// Seals `plain` into `sealed`, which is as long, and `tag`.
    pub(crate) fn seal_into(
        &mut self,
        plain: &[u8],
        sealed: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), CipherError> {
        let nonce = self.nonce()?;
        self.key
            .seal_out_of_place_scatter(nonce, Aad::empty(), plain, sealed, &[], tag)
            .map_err(|_| CipherError::Exhausted)?;
        self.counter += 1;
        Ok(())
    }

    /// Opens `in_out`, sealed bytes and their tag, in place; returns the plain bytes.
    pub(crate) fn open<'a>(
        &mut self,
        aad: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], CipherError> {
        let nonce = self.nonce()?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(aad), in_out)
            .map_err(|_| CipherError::Forged)?;
        self.counter += 1;
        Ok(plain)
    }

    /// Opens `sealed` and its `tag` into `plain`, which is as long as `sealed`.
    pub(crate) fn open_into(
        &mut self,
        sealed: &[u8],
        tag: &[u8],
        plain: &mut [u8],
    ) -> Result<(), CipherError> {
        let nonce = self.nonce()?;
        self.key
            .open_separate_gather(nonce, Aad::empty(), sealed, tag, plain)
            .map_err(|_| CipherError::Forged)?;
        self.counter += 1;
        Ok(())
    }

    fn nonce(&self) -> Result<Nonce, CipherError> {
        if self.counter == u64::MAX {
            return Err(CipherError::Exhausted);
        }
        let mut nonce = [0; NONCE_LEN];
        if let Some(low) = nonce.last_chunk_mut() {
            *low = self.counter.to_le_bytes();
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Moves the counter, to reach its end in a test.
    #[cfg(test)]
    pub(crate) fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }
}
