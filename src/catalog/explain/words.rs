//! Words of explanations: the configuration's own, and "did you mean".

use crate::{
    catalog::{snapshot::View, zone::Zone},
    config::AnswerOrder,
    model::{Name, nearest},
};

/// The order's name in the configuration.
pub(super) const fn order_in_words(order: AnswerOrder) -> &'static str {
    match order {
        AnswerOrder::Rotate => "rotate",
        AnswerOrder::Random => "random",
        AnswerOrder::Weighted => "weighted",
    }
}

/// `; did you mean …?` if a service has a name like `name`, in `zone` or, without one, in any;
/// else nothing. Without a zone, a service with the same first label comes first.
///
/// *Cost*: a copy of every service's name.
pub(super) fn suggest(view: &View<'_>, name: &Name, zone: Option<&Zone>) -> String {
    let of_zone = view.iter().filter(|service| zone.is_none_or(|zone| service.zone.apex == zone.apex));
    let mut services: Vec<_> = of_zone.map(|service| (service.name.to_string(), &service.name)).collect();
    services.sort();
    let is_short_form = |service: &Name| zone.is_none() && service.labels().next() == name.labels().next();
    let short_form =
        services.iter().find(|(_, service)| is_short_form(service)).map(|(text, _)| text.as_str());
    match short_form.or_else(|| nearest(&name.to_string(), services.iter().map(|(text, _)| text.as_str()))) {
        Some(text) => format!("; did you mean {text}?"),
        None => String::new(),
    }
}
