//! Numbers in the order in which they came, each with what is known of it: joining the end and
//! leaving from anywhere cost the same, however many there are.
//!
//! A list in one vector, by number: numbers are to be small and dense. For `idle`.

/// No neighbour.
const NONE: u32 = u32::MAX;

/// Who stands in line.
#[derive(Debug)]
pub(super) struct Line<T> {
    members: Vec<Option<Member<T>>>,
    first: u32,
    last: u32,
    len: usize,
}

#[derive(Debug)]
struct Member<T> {
    before: u32,
    after: u32,
    value: T,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line { members: Vec::new(), first: NONE, last: NONE, len: 0 }
    }
}

impl<T> Line<T> {
    /// It joins the end; one that stands in line already leaves first.
    pub(super) fn push(&mut self, number: u32, value: T) {
        self.remove(number);
        let Ok(at) = usize::try_from(number) else { return };
        if self.members.len() <= at {
            self.members.resize_with(at.saturating_add(1), || None);
        }
        let member = Member { before: self.last, after: NONE, value };
        if let Some(place) = self.members.get_mut(at) {
            *place = Some(member);
        }
        self.join(self.last, number);
        self.last = number;
        self.len = self.len.saturating_add(1);
    }

    /// It leaves; nothing if it is not there.
    pub(super) fn remove(&mut self, number: u32) {
        let member = usize::try_from(number).ok().and_then(|at| self.members.get_mut(at)?.take());
        let Some(Member { before, after, .. }) = member else { return };
        self.len = self.len.saturating_sub(1);
        self.join(before, after);
        if after == NONE {
            self.last = before;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first that will do.
    pub(super) fn first(&self, will_do: impl Fn(&T) -> bool) -> Option<u32> {
        let mut number = self.first;
        while let Some(member) = self.members.get(usize::try_from(number).ok()?)?.as_ref() {
            if will_do(&member.value) {
                return Some(number);
            }
            number = member.after;
        }
        None
    }

    fn join(&mut self, before: u32, after: u32) {
        match self.member(before) {
            Some(member) => member.after = after,
            None => self.first = after,
        }
        if let Some(member) = self.member(after) {
            member.before = before;
        }
    }

    fn member(&mut self, number: u32) -> Option<&mut Member<T>> {
        self.members.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `3` joins, `-3` leaves; then who stands in line.
    #[track_caller]
    fn check(ops: &str, expected: &str) {
        let mut line = Line::default();
        for op in ops.split_whitespace() {
            match op.strip_prefix('-') {
                Some(number) => line.remove(number.parse().unwrap()),
                None => line.push(op.parse().unwrap(), op.to_owned()),
            }
        }
        let mut seen = Vec::new();
        while let Some(number) = line.first(|value| !seen.contains(value)) {
            seen.push(number.to_string());
        }
        assert_eq!(seen.join(" "), expected, "{ops}");
        assert_eq!(line.len(), seen.len(), "{ops}");
        for number in &seen {
            line.remove(number.parse().unwrap());
        }
        assert_eq!((line.first, line.last, line.len()), (NONE, NONE, 0), "{ops}");
    }

    #[test]
    fn who_came_first_stands_first() {
        check("", "");
        check("-3", "");
        check("5 0 9", "5 0 9");
        check("5 0 9 -5", "0 9");
        check("5 0 9 -0", "5 9");
        check("5 0 9 -9 4", "5 0 4");
        check("5 0 9 5", "0 9 5");
        check("5 5", "5");
        check("5 -5 -5 7 5", "7 5");
        check("1 2 3 -2 -1 -3 2", "2");
    }
}
