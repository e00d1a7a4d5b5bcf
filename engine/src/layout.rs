//! Which stage runs on which thread.
//!
//! | cores | threads |
//! |---|---|
//! | 1 | everything |
//! | 2, 3 | the serial stages and one verifier; a verifier on each other core |
//! | 4 to 7 | the serial stages; verifiers on the others but one, which is left to the network and the log |
//! | 8 and more | execute; root and commit; lane and order; verifiers on the others but two, left to the network and the log |
//!
//! The serial stages together spend a fraction of what one verifier spends, so they get a core of their own only where there are enough.

/// A stage, before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Flushes the intake's open batches.
    Flush,
    /// Checks signatures; there are several.
    Verify,
    /// Seals.
    Lane,
    /// Makes blocks.
    Order,
    /// Executes.
    Execute,
    /// Roots.
    Root,
    /// Commits.
    Commit,
}

/// The stages of one thread, the end of the pipeline first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadLayout {
    /// Its name.
    pub name: String,
    /// Its core.
    pub core: usize,
    /// Its stages.
    pub roles: Vec<Role>,
}

/// Lays the stages out on `cores`; `verifiers` is 0 for as many as fit.
pub fn lay_out(cores: &[usize], verifiers: usize) -> Vec<ThreadLayout> {
    use Role::{Commit, Execute, Flush, Lane, Order, Root, Verify};
    let serial = vec![Commit, Root, Execute, Order, Lane, Flush];
    let (groups, shared, left) = match cores.len() {
        0..=3 => (vec![("serial", serial)], true, 0),
        4..=7 => (vec![("serial", serial)], false, 1),
        _ => {
            let groups =
                vec![("execute", vec![Execute]), ("root", vec![Commit, Root]), ("order", vec![Order, Lane, Flush])];
            (groups, false, 2)
        }
    };
    let mut threads: Vec<ThreadLayout> = Vec::new();
    for (place, (name, roles)) in groups.into_iter().enumerate() {
        threads.push(ThreadLayout { name: name.to_owned(), core: core_at(cores, place), roles });
    }
    let free = cores.len().saturating_sub(threads.len() + left) + usize::from(shared);
    let wanted = if verifiers == 0 { free.max(1) } else { verifiers };
    let first = if shared { 0 } else { threads.len() };
    for number in 0..wanted {
        if shared && number == 0 {
            threads[0].roles.push(Verify);
            threads[0].name = "serial+verify".to_owned();
            continue;
        }
        let core = core_at(cores, first + number);
        threads.push(ThreadLayout { name: format!("verify-{number}"), core, roles: vec![Verify] });
    }
    threads
}

/// More threads than cores go round.
fn core_at(cores: &[usize], place: usize) -> usize {
    cores.get(place % cores.len().max(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(threads: &[ThreadLayout], role: Role) -> usize {
        threads.iter().flat_map(|thread| &thread.roles).filter(|&&other| other == role).count()
    }

    #[test]
    fn every_stage_is_there_once_and_verifiers_fill_the_rest() {
        for cores in 1..=64 {
            let list: Vec<usize> = (0..cores).collect();
            let threads = lay_out(&list, 0);
            for role in [Role::Flush, Role::Lane, Role::Order, Role::Execute, Role::Root, Role::Commit] {
                assert_eq!(count(&threads, role), 1, "{cores} {role:?}");
            }
            assert!(threads.len() <= cores && count(&threads, Role::Verify) >= 1, "{cores}");
        }
        assert_eq!(count(&lay_out(&[0, 1], 0), Role::Verify), 2);
        assert_eq!(count(&lay_out(&(0..16).collect::<Vec<_>>(), 0), Role::Verify), 11);
        assert_eq!(count(&lay_out(&[0, 1], 5), Role::Verify), 5);
    }
}
