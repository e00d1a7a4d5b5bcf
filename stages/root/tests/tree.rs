//! The tree against its definition, through growth, updates, threads and wrong changes.

mod common;

use std::collections::BTreeMap;

use common::{leaf, naive_root, tree_of, update};
use proptest::prelude::*;
use tana_root::{AccountTree, ChangesError, Leaf, LeafChanges};

fn leaves(count: u64) -> Vec<Leaf> {
    (0..count).map(leaf).collect()
}

#[test]
fn no_accounts_have_the_zero_root() {
    let mut tree = AccountTree::new();
    assert!(tree.is_empty());
    assert_eq!(tree.root(), [0; 32]);
    assert_eq!(update(&mut tree, &BTreeMap::new(), None), [0; 32]);
    assert_eq!(tree.prove(0), None);
    assert_eq!(AccountTree::from_leaves([], None).unwrap().root(), [0; 32]);
}

#[test]
fn every_count_up_to_four_levels_built_at_once() {
    for count in (0..=70).chain([255, 256, 257, 300]) {
        let leaves = leaves(count);
        let tree = tree_of(&leaves);
        assert_eq!(tree.root(), naive_root(&leaves), "{count} accounts");
        assert_eq!(tree.len(), count);
        let rebuilt = AccountTree::from_leaves(leaves.iter().map(Leaf::hash), None).unwrap();
        assert_eq!(rebuilt.root(), tree.root(), "{count} accounts");
    }
}

#[test]
fn growth_one_by_one_across_powers_of_four() {
    let leaves = leaves(300);
    let mut tree = AccountTree::new();
    for count in 1..=leaves.len() {
        let added = BTreeMap::from([(count as u32 - 1, leaves[count - 1].clone())]);
        assert_eq!(update(&mut tree, &added, None), naive_root(&leaves[..count]), "{count} accounts");
        assert_eq!(tree.len(), count as u64);
    }
}

#[test]
fn growth_in_steps_from_every_start() {
    let leaves = leaves(280);
    for start in [0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65] {
        for end in [start + 1, start + 3, start + 4, 16, 64, 65, 256, 257, 280] {
            if end < start {
                continue;
            }
            let mut tree = tree_of(&leaves[..start]);
            let added = (start..end).map(|index| (index as u32, leaves[index].clone())).collect();
            assert_eq!(update(&mut tree, &added, None), naive_root(&leaves[..end]), "from {start} to {end}");
        }
    }
}

/// More leaves than one step of a rebuild takes in, so that the steps have to fit together.
#[test]
fn large_rebuild_equals_one_update() {
    let hashes: Vec<_> = (0..150_000u64).map(|seed| tana_hash::hash(&seed.to_le_bytes())).collect();
    let whole = AccountTree::from_leaves(hashes.iter().copied(), None).unwrap();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let spread = AccountTree::from_leaves(hashes.iter().copied(), Some(&threads)).unwrap();
    assert_eq!(whole.root(), spread.root());
    let mut level = hashes;
    let key = tana_hash::HashKey::from_context(tana_root::NODE_CONTEXT);
    while level.len() > 1 {
        level.resize(level.len().next_multiple_of(4), [0; 32]);
        let all_missing = |group: &[tana_hash::Hash]| group.iter().all(|hash| *hash == [0; 32]);
        level = level
            .chunks(4)
            .map(|group| if all_missing(group) { [0; 32] } else { tana_hash::keyed(&key, &group.concat()) })
            .collect();
    }
    assert_eq!(whole.root(), level[0]);
}

#[test]
fn threads_change_nothing() {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let start = leaves(20_000);
    let (mut alone, mut spread) = (tree_of(&start), tree_of(&start));
    let changes: BTreeMap<u32, Leaf> = (0..9_000u64)
        .map(|step| ((step * 7 % 20_000) as u32, leaf(step + 50_000)))
        .chain((20_000..23_000).map(|index| (index, leaf(index.into()))))
        .collect();
    assert_eq!(update(&mut alone, &changes, None), update(&mut spread, &changes, Some(&threads)));
    let mut end = start;
    end.resize(23_000, leaf(0));
    for (index, leaf) in changes {
        end[index as usize] = leaf;
    }
    assert_eq!(alone.root(), AccountTree::from_leaves(end.iter().map(Leaf::hash), None).unwrap().root());
    for index in (0..23_000).step_by(97) {
        assert_eq!(alone.prove(index), spread.prove(index));
        assert_eq!(alone.leaf_hash(index), spread.leaf_hash(index));
    }
}

#[test]
fn same_content_gives_the_same_root_whatever_the_way() {
    let end = leaves(100);
    let mut tree = tree_of(&(0..100).map(|seed| leaf(seed + 1000)).collect::<Vec<_>>());
    assert_ne!(tree.root(), naive_root(&end));
    for part in (0..100u32).collect::<Vec<_>>().chunks(7).rev() {
        update(&mut tree, &part.iter().map(|&index| (index, end[index as usize].clone())).collect(), None);
    }
    assert_eq!(tree.root(), tree_of(&end).root());
}

#[test]
fn wrong_changes_are_refused_and_change_nothing() {
    let mut tree = tree_of(&leaves(10));
    let before = tree.root();
    let records = vec![[7; 96]; 3];
    let mut refuse = |indexes: &[u32], overflows: &[(u32, [u8; 32])], expected: ChangesError| {
        let changes = LeafChanges { indexes, records: &records, overflows };
        assert_eq!(tree.update(&changes, None), Err(expected));
        assert_eq!((tree.root(), tree.len()), (before, 10));
    };
    refuse(&[1, 2], &[], ChangesError::Lengths { indexes: 2, records: 3 });
    refuse(&[1, 1, 2], &[], ChangesError::Order { position: 1 });
    refuse(&[1, 3, 2], &[], ChangesError::Order { position: 2 });
    refuse(&[1, 10, 12], &[], ChangesError::Gap { index: 12, count: 10 });
    refuse(&[11, 12, 13], &[], ChangesError::Gap { index: 13, count: 10 });
    refuse(&[1, 2, u32::MAX], &[], ChangesError::Gap { index: u32::MAX, count: 10 });
    refuse(&[1, 2, 3], &[(3, [0; 32])], ChangesError::Overflow { position: 0 });
    refuse(&[1, 2, 3], &[(1, [0; 32]), (1, [0; 32])], ChangesError::Overflow { position: 1 });
    refuse(&[1, 2, 3], &[(2, [0; 32]), (0, [0; 32])], ChangesError::Overflow { position: 1 });
}

/// The roots of two small trees, fixed for ever: a change here is a change of the state root of every chain.
#[test]
fn roots_are_the_ones_of_version_1() {
    let text = |root: [u8; 32]| root.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fixture = include_str!("fixtures/roots.txt");
    let lines: Vec<(u64, &str)> = fixture
        .lines()
        .map(|line| line.split_once(' ').map(|(count, root)| (count.parse().unwrap(), root)).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    for (count, root) in lines {
        assert_eq!(text(tree_of(&leaves(count)).root()), root, "{count} accounts");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Blocks of random changes and additions: after each, the tree is what its definition says.
    #[test]
    fn random_blocks_follow_the_definition(
        start in 0u64..90,
        blocks in proptest::collection::vec((proptest::collection::vec((any::<u32>(), any::<u64>()), 0..40), 0u64..60), 1..6),
    ) {
        let mut expected = leaves(start);
        let mut tree = tree_of(&expected);
        for (changed, added) in blocks {
            let mut changes = BTreeMap::new();
            for (index, seed) in changed {
                if let Some(index) = index.checked_rem(expected.len() as u32) {
                    changes.insert(index, leaf(seed));
                }
            }
            for new in 0..added {
                changes.insert(expected.len() as u32 + new as u32, leaf(new + 1_000_000));
            }
            expected.resize(expected.len() + added as usize, leaf(0));
            for (index, leaf) in &changes {
                expected[*index as usize] = leaf.clone();
            }
            prop_assert_eq!(update(&mut tree, &changes, None), naive_root(&expected));
            prop_assert_eq!(tree.root(), tree_of(&expected).root());
        }
    }
}
