//! Access control as a whole: what it admits, limits and drops.

use rstest::rstest;

use super::*;
use crate::config::Cookies;

const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
const PRIVATE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

/// All clients may query; everything else is the default.
fn open() -> AccessSettings {
    AccessSettings { allow: AccessSettings::ANY.into(), ..AccessSettings::default() }
}

fn limit(access_control: &AccessControl, address: IpAddr, code: ResponseCode, name: &[u8]) -> RrlAction {
    let (_, client) = access_control.admit(address, Transport::Udp, 100);
    access_control.limit_response(client, address, code, (name, 1))
}

/// How many of `count` equal responses are sent, truncated and dropped.
fn tally(access_control: &AccessControl, address: IpAddr, code: ResponseCode, count: usize) -> [usize; 3] {
    let mut tally = [0; 3];
    for _ in 0..count {
        tally[limit(access_control, address, code, b"name") as usize] += 1;
    }
    tally
}

#[test]
fn denied_clients_get_silence_and_others_refused() {
    let mut access =
        AccessSettings { deny: vec!["203.0.113.0/24".parse().unwrap()], ..AccessSettings::default() };
    access.queries_per_second = Some(1);
    let access_control = AccessControl::new(&access);
    assert_eq!(access_control.admit(PUBLIC, Transport::Udp, 100).0, Admission::Drop(Restriction::Denied));
    for _ in 0..3 {
        let outsider = access_control.admit([198, 51, 100, 1].into(), Transport::Udp, 100).0;
        assert_eq!(outsider, Admission::Refuse(Restriction::NotAllowed));
    }
    assert_eq!(access_control.admit(PRIVATE, Transport::Udp, 100).0, Admission::Admit);
}

#[rstest]
#[case(OverLimit::Refuse, Admission::Refuse(Restriction::TooManyQueries))]
#[case(OverLimit::Drop, Admission::Drop(Restriction::TooManyQueries))]
fn queries_over_the_rate_are_refused_or_dropped(#[case] over_limit: OverLimit, #[case] beyond: Admission) {
    let access = AccessSettings { queries_per_second: Some(5), over_limit, ..AccessSettings::default() };
    let access_control = AccessControl::new(&access);
    let admissions: Vec<_> = (0..6).map(|_| access_control.admit(PRIVATE, Transport::Udp, 100)).collect();
    assert!(admissions[..5].iter().all(|(admission, _)| *admission == Admission::Admit), "{admissions:?}");
    assert_eq!(admissions[5].0, beyond);
    assert_eq!(admissions[5].1.level, AccessLevel::Refused);
    assert_eq!(
        access_control.admit([10, 0, 0, 8].into(), Transport::Udp, 100).0,
        Admission::Admit,
        "its neighbor"
    );
}

#[test]
fn a_64_counts_as_one_ipv6_client() {
    let access_control =
        AccessControl::new(&AccessSettings { queries_per_second: Some(1), ..AccessSettings::default() });
    assert_eq!(access_control.admit("fd00::1".parse().unwrap(), Transport::Udp, 100).0, Admission::Admit);
    assert_ne!(access_control.admit("fd00::2".parse().unwrap(), Transport::Udp, 100).0, Admission::Admit);
    assert_eq!(
        access_control.admit("fd00:0:0:1::1".parse().unwrap(), Transport::Udp, 100).0,
        Admission::Admit
    );
}

#[test]
fn queries_over_the_longest_length_are_rejected() {
    let access_control =
        AccessControl::new(&AccessSettings { longest_query: 300, ..AccessSettings::default() });
    assert_eq!(access_control.admit(PRIVATE, Transport::Udp, 300).0, Admission::Admit);
    assert_eq!(access_control.admit(PRIVATE, Transport::Udp, 301).0, Admission::TooLong);
    assert_eq!(access_control.admit(PUBLIC, Transport::Udp, 301).0, Admission::TooLong);
}

#[test]
fn forged_datagrams_take_nothing_from_a_client_that_proves_its_address() {
    let access = AccessSettings { queries_per_second: Some(5), ..AccessSettings::default() };
    let access_control = AccessControl::new(&access);
    let cookie = access_control.check_cookie(SentCookie::read(&[7; 8]), PRIVATE).reply().unwrap();
    let good = SentCookie::read(&cookie);
    let is_over = |transport| access_control.admit(PRIVATE, transport, 100).0 != Admission::Admit;
    while !is_over(Transport::Udp) {}
    assert!(!is_over(Transport::Tcp), "TCP");
    assert!(!access_control.readmit(SentCookie::None, PRIVATE), "no cookie");
    assert!(!access_control.readmit(SentCookie::read(&[7; 8]), PRIVATE), "half a cookie");
    assert!(!access_control.readmit(good, [10, 0, 0, 8].into()), "the cookie of another address");
    let readmitted = (0..100).filter(|_| access_control.readmit(good, PRIVATE)).count();
    assert!((4..50).contains(&readmitted), "{readmitted}: a rate of its own");
}

#[test]
fn equal_responses_are_limited_and_every_second_slips() {
    let access_control = AccessControl::new(&open());
    // The clock advances during the test, so a few more may pass.
    let [sent, truncated, dropped] = tally(&access_control, PUBLIC, ResponseCode::NoError, 300);
    assert!((100..150).contains(&sent), "{sent}");
    assert!(truncated.abs_diff(dropped) <= 1 && sent + truncated + dropped == 300, "{truncated} {dropped}");
    assert_ne!(
        limit(&access_control, [203, 0, 113, 99].into(), ResponseCode::NoError, b"name"),
        RrlAction::Send
    );
    assert_eq!(limit(&access_control, PUBLIC, ResponseCode::NoError, b"other"), RrlAction::Send);
    assert_eq!(
        limit(&access_control, [203, 0, 114, 1].into(), ResponseCode::NoError, b"name"),
        RrlAction::Send
    );
}

#[test]
fn errors_are_limited_across_names() {
    let access_control = AccessControl::new(&open());
    let mut sent = 0;
    for at in 0..300_u32 {
        let action = limit(&access_control, PUBLIC, ResponseCode::NXDomain, &at.to_be_bytes());
        sent += usize::from(action == RrlAction::Send);
    }
    assert!((100..150).contains(&sent), "{sent}");
    // An error that slips is sent as it was.
    let [sent, truncated, dropped] = tally(&access_control, PUBLIC, ResponseCode::Refused, 300);
    assert_eq!((truncated, sent + dropped), (0, 300));
    assert!((190..250).contains(&sent), "{sent}");
}

#[test]
fn private_networks_are_not_limited_by_default() {
    let access_control = AccessControl::new(&open());
    assert_eq!(tally(&access_control, PRIVATE, ResponseCode::NoError, 1000), [1000, 0, 0]);
    let mut access = open();
    access.responses.exempt.clear();
    assert!(tally(&AccessControl::new(&access), PRIVATE, ResponseCode::NoError, 1000)[0] < 500);
}

#[test]
fn the_response_limit_is_configurable() {
    let mut access = open();
    access.responses.slip = 0;
    access.responses.v4_prefix = 32;
    let access_control = AccessControl::new(&access);
    let [_, truncated, dropped] = tally(&access_control, PUBLIC, ResponseCode::NoError, 300);
    assert!(truncated == 0 && dropped > 100);
    assert_eq!(
        limit(&access_control, [203, 0, 113, 99].into(), ResponseCode::NoError, b"name"),
        RrlAction::Send
    );
    access.responses.per_second = None;
    assert_eq!(tally(&AccessControl::new(&access), PUBLIC, ResponseCode::NoError, 1000), [1000, 0, 0]);
}

#[test]
fn a_cookie_is_good_when_it_comes_back() {
    let access_control = AccessControl::default();
    let first = access_control.check_cookie(SentCookie::read(&[7; 8]), PUBLIC);
    let Some(cookie) = first.reply() else { panic!("no cookie: {first:?}") };
    assert_eq!(first, CookieCheck::New(cookie));
    assert_eq!(access_control.check_cookie(SentCookie::read(&cookie), PUBLIC), CookieCheck::Good(cookie));
    assert!(matches!(access_control.check_cookie(SentCookie::read(&cookie), PRIVATE), CookieCheck::New(_)));
    assert!(matches!(
        AccessControl::default().check_cookie(SentCookie::read(&cookie), PUBLIC),
        CookieCheck::New(_)
    ));
    assert_eq!(access_control.check_cookie(SentCookie::None, PUBLIC), CookieCheck::None);
    assert_eq!(access_control.check_cookie(SentCookie::Malformed, PUBLIC), CookieCheck::Malformed);
}

#[test]
fn cookies_can_be_disabled_or_required() {
    let cookies = Cookies { enabled: false, required: false };
    let access_control = AccessControl::new(&AccessSettings { cookies, ..open() });
    assert_eq!(access_control.check_cookie(SentCookie::read(&[7; 8]), PUBLIC), CookieCheck::None);
    assert_eq!(access_control.check_cookie(SentCookie::Malformed, PUBLIC), CookieCheck::None);

    let cookies = Cookies { enabled: true, required: true };
    let access_control = AccessControl::new(&AccessSettings { cookies, ..open() });
    assert!(access_control.requires_cookie(access_control.admit(PUBLIC, Transport::Udp, 100).1));
    assert!(!access_control.requires_cookie(access_control.admit(PRIVATE, Transport::Udp, 100).1));
}
