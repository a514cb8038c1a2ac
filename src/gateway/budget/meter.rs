//! Bytes of answers: paid for in blocks before they are released.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::gateway::budget::account::Refused;
use crate::gateway::budget::{Released, Tab, Taken};
use crate::gateway::denial::Denial;
use crate::gateway::stream::Chunks;
use crate::model::usage::{Exhausted, Measure};
use crate::net::NetError;

const BYTES: Measure = Measure::BytesPerDay;
/// The first block of an answer whose length is not announced: most are short.
const FIRST_BLOCK: u64 = 64 * 1024;
/// The largest block; what a crash may cost for each answer that is under way.
const LARGEST_BLOCK: u64 = 1024 * 1024;

/// An answer on its way through the meter.
struct Metered {
    chunks: Chunks,
    tab: Tab,
    taken: Taken,
    block: u64,
    is_cut: bool,
}

impl Tab {
    /// Pays for the bytes of an answer as it is released. Where the budget runs out in its midst the answer
    /// breaks off; where less is left than is announced, nothing is released.
    pub(super) async fn pay_for_bytes(&self, released: Released) -> Result<Released, Denial> {
        let (status, headers, chunks) = released;
        let announced = headers.iter().find(|(name, _)| name == "content-length");
        let announced = announced.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
        if !self.counts(BYTES) || announced == Some(0) {
            return Ok((status, headers, chunks));
        }
        if let Some(asked) = announced
            && let Some(left) = self.room(BYTES).await?
            && asked > left
        {
            return Err(self.too_long(asked, left));
        }
        let first = announced.unwrap_or(FIRST_BLOCK).min(LARGEST_BLOCK);
        let taken = self.take(BYTES, 1, first).await.map_err(|refused| self.denial(refused))?;
        let metered = Metered { chunks, tab: self.clone(), taken, block: first, is_cut: false };
        Ok((status, headers, stream::try_unfold(metered, Metered::next).boxed()))
    }

    fn too_long(&self, asked: u64, left: u64) -> Denial {
        let most = self.accounts.iter().filter_map(|account| account.most(BYTES)).min().unwrap_or_default();
        let period = BYTES.period();
        let renewed_at = Some(period.start(self.clock.now()).plus(period.length()));
        self.denial(Refused::Exhausted(Exhausted { measure: Some(BYTES), most, left, asked, renewed_at }))
    }
}

impl Metered {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, NetError> {
        if self.is_cut {
            return Err(NetError::TooLarge);
        }
        let Some(mut chunk) = self.chunks.try_next().await? else { return Ok(None) };
        let paid = self.pay(chunk.len() as u64).await;
        if paid < chunk.len() {
            if paid == 0 {
                return Err(NetError::TooLarge);
            }
            self.is_cut = true;
            chunk.truncate(paid);
        }
        Ok(Some((chunk, self)))
    }

    /// How many of the bytes are paid for.
    async fn pay(&mut self, bytes: u64) -> usize {
        let mut paid = self.taken.spend(bytes);
        while paid < bytes {
            let missing = bytes - paid;
            self.block = self.block.saturating_mul(4).clamp(FIRST_BLOCK, LARGEST_BLOCK);
            match self.tab.take(BYTES, 1, self.block.max(missing)).await {
                Ok(taken) => self.taken = taken,
                Err(refused) => {
                    tracing::debug!(?refused, "an answer is cut: its budget of bytes gives no more");
                    break;
                }
            }
            paid += self.taken.spend(missing);
        }
        usize::try_from(paid).unwrap_or(usize::MAX)
    }
}
