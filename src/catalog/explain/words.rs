//! What the configuration says, in words, and what somebody may have meant.

use crate::{
    catalog::{snapshot::View, zone::Zone},
    config::AnswerOrder,
    model::Name,
};

/// The order's name in the configuration.
pub(super) const fn order_in_words(order: AnswerOrder) -> &'static str {
    match order {
        AnswerOrder::Rotate => "rotate",
        AnswerOrder::Random => "random",
        AnswerOrder::Weighted => "weighted",
    }
}

/// `; did you mean …` where a service, of `zone` or of any, has a name like `name`; else nothing.
///
/// *Cost*: a look at every service's name.
pub(super) fn suggest(view: &View<'_>, name: &Name, zone: Option<&Zone>) -> String {
    const FAR: usize = 3;
    let wanted = name.to_string();
    let first = name.labels().next();
    let distance = |service: &Name| {
        let text = service.to_string();
        let is_short_form = zone.is_none() && service.labels().next() == first;
        if is_short_form {
            return Some((0, text));
        }
        let is_near = text.len().abs_diff(wanted.len()) < FAR;
        let distance = is_near.then(|| strsim::osa_distance(&wanted, &text))?;
        (distance < FAR).then_some((distance, text))
    };
    let of_zone = view.iter().filter(|service| zone.is_none_or(|zone| service.zone.apex == zone.apex));
    match of_zone.filter_map(|service| distance(&service.name)).min() {
        Some((_, text)) => format!("; did you mean {text}?"),
        None => String::new(),
    }
}
