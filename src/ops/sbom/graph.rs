//! Which components need which others.
//!
//! A requirement leads to every component of its project. A requirement of an extra counts if something in
//! the buildout asks for that extra. Other markers and version specifiers are not evaluated: what they
//! exclude is not there, as buildout has chosen the eggs.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::egg::dependency::Dependency;

use super::inventory::Component;

/// The condition of a requirement: the project that has it, and the extra that it needs.
type Condition = (String, Option<String>);

/// The dependencies of each component, and of the whole, as sorted indexes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Graph {
    pub of: Vec<BTreeSet<usize>>,
    /// What the buildout itself depends on: what no component needs, and of those that need each other in a
    /// circle, the first.
    pub top: BTreeSet<usize>,
}

impl Graph {
    /// `extras` are those that the configuration of the buildout asks for.
    #[must_use]
    pub fn new(components: &[Component], extras: &[(String, String)]) -> Self {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, component) in components.iter().enumerate() {
            by_name.entry(&component.project).or_default().push(index);
        }
        let in_use = conditions_in_use(components, extras);
        let needs = |component: &Component| -> BTreeSet<usize> {
            let active = component.dependencies.iter().filter(|dependency| {
                conditions(component, dependency).iter().any(|it| in_use.contains(it))
            });
            let found = active.filter_map(|dependency| by_name.get(dependency.name.as_str()));
            found
                .flatten()
                .copied()
                .filter(|&it| components[it].project != component.project)
                .collect()
        };
        let of: Vec<BTreeSet<usize>> = components.iter().map(needs).collect();
        let top = top(&of);
        Self { of, top }
    }
}

/// The conditions of which one must be in use for a requirement to count.
fn conditions(component: &Component, dependency: &Dependency) -> Vec<Condition> {
    let project = || component.project.clone();
    if dependency.only_with.is_empty() {
        return vec![(project(), None)];
    }
    dependency.only_with.iter().map(|extra| (project(), Some(extra.clone()))).collect()
}

/// The conditions that are met. Each is looked at once, whatever the requirements are.
fn conditions_in_use(components: &[Component], extras: &[(String, String)]) -> HashSet<Condition> {
    let mut by_condition: HashMap<Condition, Vec<&Dependency>> = HashMap::new();
    for component in components {
        for dependency in &component.dependencies {
            for condition in conditions(component, dependency) {
                by_condition.entry(condition).or_default().push(dependency);
            }
        }
    }
    let always = components.iter().map(|it| (it.project.clone(), None));
    let configured = extras.iter().map(|(name, extra)| (name.clone(), Some(extra.clone())));
    let mut in_use: HashSet<Condition> = always.chain(configured).collect();
    let mut new: Vec<Condition> = in_use.iter().cloned().collect();
    while let Some(condition) = new.pop() {
        for dependency in by_condition.remove(&condition).unwrap_or_default() {
            for extra in &dependency.extras {
                let asked = (dependency.name.clone(), Some(extra.clone()));
                if in_use.insert(asked.clone()) {
                    new.push(asked);
                }
            }
        }
    }
    in_use
}

fn top(of: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let needed: HashSet<usize> = of.iter().flatten().copied().collect();
    let mut top: BTreeSet<usize> = (0..of.len()).filter(|it| !needed.contains(it)).collect();
    let mut reached = vec![false; of.len()];
    for &index in &top {
        reach(index, of, &mut reached);
    }
    for index in 0..of.len() {
        if !reached[index] {
            top.insert(index);
            reach(index, of, &mut reached);
        }
    }
    top
}

fn reach(from: usize, of: &[BTreeSet<usize>], reached: &mut [bool]) {
    let mut next = vec![from];
    while let Some(index) = next.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            next.extend(of[index].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(project: &str, requires: &[&str]) -> Component {
        Component {
            project: project.into(),
            dependencies: requires.iter().filter_map(|line| Dependency::parse(line)).collect(),
            ..Component::default()
        }
    }

    fn of(components: &[Component], extras: &[(&str, &str)]) -> (Vec<Vec<usize>>, Vec<usize>) {
        let extras: Vec<_> =
            extras.iter().map(|(name, extra)| ((*name).to_owned(), (*extra).to_owned())).collect();
        let graph = Graph::new(components, &extras);
        let edges = graph.of.iter().map(|of| of.iter().copied().collect());
        (edges.collect(), graph.top.into_iter().collect())
    }

    #[test]
    fn requirements_lead_to_every_egg_of_a_project() {
        let app = component("app", &["lib>=1", "missing", "other; python_version < '3'"]);
        let all = [app, component("lib", &[]), component("lib", &[]), component("other", &[])];
        assert_eq!(of(&all, &[]), (vec![vec![1, 2, 3], vec![], vec![], vec![]], vec![0]));
    }

    #[test]
    fn a_requirement_of_an_extra_counts_if_something_asks_for_it() {
        let lib = component(
            "lib",
            &["test; extra == 'test'", "lib[deep]; extra == 'test'", "deep; extra == 'deep'"],
        );
        let rest = [component("test", &[]), component("deep", &[])];
        let with = |app: Component| [&[app, lib.clone()], &rest[..]].concat();
        let plain = with(component("app", &["lib"]));
        assert_eq!(of(&plain, &[]).0, [vec![1], vec![], vec![], vec![]]);
        let asks = with(component("app", &["lib[test]"]));
        assert_eq!(of(&asks, &[]).0, [vec![1], vec![2, 3], vec![], vec![]]);
        assert_eq!(of(&plain, &[("lib", "deep")]).0, [vec![1], vec![3], vec![], vec![]]);
    }

    #[test]
    fn everything_is_reached_from_the_top() {
        let circle = [component("a", &["b"]), component("b", &["a", "c"]), component("c", &[])];
        assert_eq!(of(&circle, &[]), (vec![vec![1], vec![0, 2], vec![]], vec![0]));
    }
}
