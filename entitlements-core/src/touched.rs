//! Whose answers may have become others between two snapshots and two instants.

use std::{collections::BTreeSet, sync::Arc};

use crate::{Snapshot, TenantView, Timestamp, page::Page};

impl Snapshot {
    /// The keys of tenants whose answers in this snapshot at `to` may differ from those in an earlier
    /// one at `from`, in order. All others are the same. It costs little where little has changed.
    #[must_use]
    pub fn touched_since<'s>(
        &'s self,
        before: &'s Self,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<&'s str> {
        let comparable = Arc::ptr_eq(&self.index.names, &before.index.names)
            && self.pages.count() == before.pages.count()
            && self.catalog() == before.catalog();
        let mut touched = BTreeSet::new();
        if !comparable {
            touched.extend(self.tenants().chain(before.tenants()).map(TenantView::key));
            return touched.into_iter().collect();
        }
        for (now, then) in self.pages.shared().zip(before.pages.shared()) {
            for view in self.views(now) {
                if view.changes_by_time(from, to) || !is_the_same(view, now, then, before) {
                    touched.insert(view.key());
                }
            }
            if !Arc::ptr_eq(now, then) {
                let gone = before.views(then).filter(|view| self.tenant(view.key()).is_none());
                touched.extend(gone.map(TenantView::key));
            }
        }
        touched.into_iter().collect()
    }

    fn views<'s>(&'s self, page: &'s Page) -> impl Iterator<Item = TenantView<'s>> {
        page.slots().iter().map(move |slot| TenantView::new(self, page, slot))
    }
}

/// Whether a tenant's facts are what they were. Pages that nobody changed are shared.
fn is_the_same(view: TenantView<'_>, now: &Arc<Page>, then: &Arc<Page>, before: &Snapshot) -> bool {
    Arc::ptr_eq(now, then)
        || before
            .tenant(view.key())
            .is_some_and(|then| then.facts().words() == view.facts().words())
}

impl TenantView<'_> {
    /// Whether an edge lies after `from` and not after `to`.
    fn changes_by_time(self, from: Timestamp, to: Timestamp) -> bool {
        from < to && self.next_change(from).is_some_and(|edge| edge <= to)
    }
}

#[cfg(feature = "document")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, Revision, Tenant, TenantKey, document::Document};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn snapshot(tenants: usize) -> Snapshot {
        let mut text = String::from(
            "[features]\nsso = { kind = \"switch\" }\n[plans.pro]\ngrants = { sso = true }\n",
        );
        for n in 0..tenants {
            text += &format!("[tenants.t{n}]\nsubscriptions = [{{ plan = \"pro\" }}]\n");
        }
        text += "[tenants.ends]\nsubscriptions = [{ plan = \"pro\", window = { until = \
                 1970-01-01T00:01:00Z } }]\n";
        let document = Document::parse("t.toml", &text).unwrap();
        let catalog = Catalog::new(document.catalog).unwrap();
        Snapshot::compile(Revision(1), catalog.into(), &document.tenants, at(0))
    }

    #[test]
    fn only_what_may_differ_is_named() {
        let first = snapshot(2_000);
        assert!(first.touched_since(&first, at(0), at(30)).is_empty());
        assert_eq!(first.touched_since(&first, at(0), at(60)), ["ends"]);
        assert!(first.touched_since(&first, at(60), at(90)).is_empty());
        let (gone, new) = (TenantKey::new("t7").unwrap(), TenantKey::new("new").unwrap());
        let tenant = Tenant::default();
        let changed = [(&gone, None), (&new, Some(&tenant))];
        let second = first.with_tenants(Revision(2), changed, at(0));
        assert_eq!(second.touched_since(&first, at(0), at(0)), ["new", "t7"]);
        assert_eq!(second.touched_since(&first, at(0), at(60)), ["ends", "new", "t7"]);
        // Preparing answers anew changes none.
        let refreshed = second.refreshed(at(61)).unwrap();
        assert!(refreshed.touched_since(&second, at(61), at(62)).is_empty());
        // What cannot be compared may differ.
        let other = snapshot(2_000);
        assert_eq!(other.touched_since(&first, at(0), at(0)).len(), 2_001);
    }
}
