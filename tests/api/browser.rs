//! A browser with a person in front of it, who signs in, answers, and may stop half-way.

use std::collections::BTreeMap;

use url::{Url, form_urlencoded};
use valetkey::app::demo::headless::browser::{Form, Page};

use crate::wire::Traffic;

/// A browser's cookies, and who sits there.
pub struct Browser {
    traffic: Traffic,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    email: String,
    /// With which account they sign in at a vendor, where it is another one.
    pub accounts: BTreeMap<String, String>,
    passwords: BTreeMap<String, String>,
}

/// Where a person ends up.
pub enum Arrived {
    Page(Page),
    /// The browser was about to open this, and has not.
    Before(Url),
}

/// What a person answers on the pages that they meet.
#[derive(Clone, Copy, Default)]
pub struct Answers<'a> {
    pub ticks: &'a [&'a str],
    /// For how many seconds; else what the page proposes.
    pub lasts: Option<u32>,
    /// Which account: a connection, or `new`; else what the page proposes.
    pub account: Option<&'a str>,
    /// Fields of limits.
    pub limits: &'a [(&'a str, &'a str)],
    pub refuses_here: bool,
    pub refuses_at_the_vendor: bool,
    /// Stop before opening an address whose path begins like this.
    pub stops_before: Option<&'a str>,
}

impl Browser {
    pub fn new(traffic: Traffic, email: &str, passwords: BTreeMap<String, String>) -> Self {
        Self {
            traffic,
            cookies: BTreeMap::new(),
            email: email.to_owned(),
            accounts: BTreeMap::new(),
            passwords,
        }
    }

    pub async fn opens(&mut self, url: &Url) -> Page {
        match self.follow("GET", url.clone(), None, None).await {
            Arrived::Page(page) => page,
            Arrived::Before(_) => unreachable!("nothing was to be stopped at"),
        }
    }

    pub async fn sends(&mut self, url: &Url, fields: &[(String, String)]) -> Page {
        match self.follow("POST", url.clone(), Some(encoded(fields)), None).await {
            Arrived::Page(page) => page,
            Arrived::Before(_) => unreachable!("nothing was to be stopped at"),
        }
    }

    /// Opens an address and answers page after page until nothing is asked any more.
    pub async fn walks(&mut self, url: &Url, answers: Answers<'_>) -> Arrived {
        let arrived = self.follow("GET", url.clone(), None, answers.stops_before).await;
        self.goes_on(arrived, answers).await
    }

    /// Answers page after page from where it is.
    pub async fn goes_on(&mut self, arrived: Arrived, answers: Answers<'_>) -> Arrived {
        let mut arrived = arrived;
        for _ in 0..10 {
            let page = match &arrived {
                Arrived::Before(_) => return arrived,
                Arrived::Page(page) => page,
            };
            let Some((to, fields)) = self.next(page, answers) else { return arrived };
            arrived = self.follow("POST", to, Some(encoded(&fields)), answers.stops_before).await;
        }
        panic!("no end after ten pages")
    }

    fn next(&self, page: &Page, answers: Answers<'_>) -> Option<(Url, Vec<(String, String)>)> {
        if page.status >= 400 {
            return None;
        }
        let to = |form: &Form| match form.action.as_str() {
            "" => page.url.clone(),
            action => page.url.join(action).unwrap(),
        };
        // What is picked from a list is up to the test.
        if page.form_with("step").is_some() {
            return None;
        }
        if let Some(form) = page.form_with("password") {
            let vendor = page.url.path_segments().and_then(|mut path| path.next()).unwrap_or_default();
            let email = self.accounts.get(vendor).unwrap_or(&self.email);
            let mut fields = form.with("username", email);
            fields.retain(|(name, _)| name != "password");
            fields.push(("password".to_owned(), self.passwords[email].clone()));
            return Some((to(&form), fields));
        }
        if let Some(form) = page.form_with("decision") {
            let fields = if form.buttons.iter().any(|(_, value)| value == "allow") {
                form.with("decision", if answers.refuses_at_the_vendor { "deny" } else { "allow" })
            } else if answers.refuses_here {
                form.with("decision", "refuse")
            } else {
                let mut fields = form.with("decision", "agree");
                if let Some(seconds) = answers.lasts {
                    fields.retain(|(name, _)| name != "duration");
                    fields.push(("duration".to_owned(), seconds.to_string()));
                }
                if let Some(account) = answers.account {
                    fields.retain(|(name, _)| name != "connection");
                    fields.push(("connection".to_owned(), account.to_owned()));
                }
                for (name, value) in answers.limits {
                    fields.retain(|(other, _)| other != name);
                    fields.push(((*name).to_owned(), (*value).to_owned()));
                }
                fields.extend(answers.ticks.iter().map(|scope| ("scope".to_owned(), (*scope).to_owned())));
                fields
            };
            return Some((to(&form), fields));
        }
        if page.url.path() == "/login" {
            let form = page.form_with("csrf").expect("the sign-in page offers no sign-in");
            return Some((to(&form), form.fields));
        }
        None
    }

    async fn follow(
        &mut self,
        method: &'static str,
        url: Url,
        body: Option<String>,
        stops_before: Option<&str>,
    ) -> Arrived {
        let (mut method, mut url, mut body) = (method, url, body);
        for _ in 0..12 {
            let origin = url.origin().ascii_serialization();
            let answer = {
                let cookie = self.cookie_line(&origin);
                let mut headers = vec![("Accept-Language", "en"), ("User-Agent", "test browser")];
                if let Some(cookie) = &cookie {
                    headers.push(("Cookie", cookie));
                }
                if body.is_some() {
                    headers.push(("Content-Type", "application/x-www-form-urlencoded"));
                    headers.push(("Origin", &origin));
                }
                self.traffic.send(method, &url, &headers, body.unwrap_or_default().as_bytes()).await
            };
            for cookie in answer.headers("set-cookie") {
                let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
                let jar = self.cookies.entry(origin.clone()).or_default();
                if value.is_empty() || cookie.to_ascii_lowercase().contains("max-age=0") {
                    jar.remove(name);
                } else {
                    jar.insert(name.to_owned(), value.to_owned());
                }
            }
            if !(300..400).contains(&answer.status) {
                return Arrived::Page(Page { url, status: answer.status, html: answer.body_text() });
            }
            url = url.join(answer.header("location").expect("a redirect without an address")).unwrap();
            if stops_before.is_some_and(|prefix| url.path().starts_with(prefix)) {
                return Arrived::Before(url);
            }
            (method, body) = ("GET", None);
        }
        panic!("too many redirects, the last to {url}")
    }

    fn cookie_line(&self, origin: &str) -> Option<String> {
        let jar = self.cookies.get(origin).filter(|jar| !jar.is_empty())?;
        Some(jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "))
    }

    /// Drops the cookies of an origin: who was signed in there is not any more.
    pub fn forgets(&mut self, origin: &str) {
        self.cookies.remove(origin);
    }

    /// The values of the cookies that an origin has set.
    pub fn cookies_of(&self, origin: &str) -> Vec<String> {
        self.cookies.get(origin).into_iter().flat_map(|jar| jar.values().cloned()).collect()
    }
}

pub fn encoded(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .finish()
}
