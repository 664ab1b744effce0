//! Lists of grants, each a bit set over features with the grants behind its bits.

use super::{AudienceIx, FeatureIx};

/// The place of a list of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SheetIx(pub(crate) u32);

/// One grant in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SheetGrant {
    pub(crate) feature: FeatureIx,
    pub(crate) give: Give,
    pub(crate) only: AudienceIx,
}

/// How much a grant gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Give {
    On,
    /// A limit: so much, or [`UNLIMITED`](crate::decision::UNLIMITED).
    Set(u64),
    Add(u64),
    /// The rank among all levels.
    Level(u64),
    /// The number of the JSON text.
    Config(u64),
}

/// All lists of grants of a catalog.
#[derive(Debug, Default)]
pub(crate) struct Sheets {
    sheets: Vec<Sheet>,
}

#[derive(Debug)]
struct Sheet {
    /// Which features it grants, and how many of its grants come before each word.
    bits: Vec<(u64, u32)>,
    /// By feature.
    grants: Vec<SheetGrant>,
    /// Where each granted feature's grants start.
    starts: Vec<u32>,
}

impl Sheets {
    /// Adds a list; grants must be in the order of their features.
    pub(super) fn push(&mut self, features: usize, grants: Vec<SheetGrant>) -> SheetIx {
        let mut bits = vec![(0_u64, 0_u32); features.div_ceil(64)];
        let mut starts = Vec::new();
        let mut last = None;
        for (index, grant) in grants.iter().enumerate() {
            if last != Some(grant.feature) {
                starts.push(u32::try_from(index).unwrap_or(u32::MAX));
                last = Some(grant.feature);
                if let Some((word, _)) = bits.get_mut(grant.feature.get() / 64) {
                    *word |= 1 << (grant.feature.get() % 64);
                }
            }
        }
        starts.push(u32::try_from(grants.len()).unwrap_or(u32::MAX));
        let mut before = 0;
        for (word, count) in &mut bits {
            *count = before;
            before += word.count_ones();
        }
        self.sheets.push(Sheet { bits, grants, starts });
        SheetIx(u32::try_from(self.sheets.len() - 1).unwrap_or(u32::MAX))
    }

    /// All grants of a list, by feature.
    pub(crate) fn all(&self, sheet: SheetIx) -> &[SheetGrant] {
        self.sheets.get(sheet.0 as usize).map_or(&[], |sheet| &sheet.grants)
    }

    /// What a list gives of a feature.
    pub(crate) fn grants(&self, sheet: SheetIx, feature: FeatureIx) -> &[SheetGrant] {
        let found = || {
            let sheet = self.sheets.get(sheet.0 as usize)?;
            let (word, before) = *sheet.bits.get(feature.get() / 64)?;
            let bit = 1_u64 << (feature.get() % 64);
            if word & bit == 0 {
                return None;
            }
            let rank = (before + (word & (bit - 1)).count_ones()) as usize;
            let [start, end] = *sheet.starts.get(rank..rank + 2)?.first_chunk()?;
            sheet.grants.get(start as usize..end as usize)
        };
        found().unwrap_or(&[])
    }
}
