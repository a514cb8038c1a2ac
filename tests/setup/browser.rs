//! A browser without scripts: cookies per origin, redirects, forms. Addresses of this machine are opened
//! directly, all others through a proxy, as a company's browsers would.
#![allow(dead_code, reason = "two test binaries share this file, and neither uses all of it")]

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Method, Proxy};
use url::{Host, Url, form_urlencoded};

const FORM: &str = "application/x-www-form-urlencoded";

fn plain() -> ClientBuilder {
    valetkey::net::install_crypto();
    Client::builder().redirect(Policy::none()).no_proxy()
}

/// A client that follows nothing and trusts no proxy of its surroundings. It keeps no connection, because
/// what it talks to may be killed meanwhile.
pub fn client() -> Client {
    plain().pool_max_idle_per_host(0).build().unwrap()
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub struct Browser {
    direct: Client,
    proxied: Option<Client>,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// Every host that was asked, in order.
    pub trail: Vec<String>,
}

#[derive(Debug)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub html: String,
}

#[derive(Clone, Debug, Default)]
pub struct Form {
    pub action: String,
    /// Fields with their values, selects with their choice.
    pub fields: Vec<(String, String)>,
    /// Checkboxes: name, value, ticked.
    pub boxes: Vec<(String, String, bool)>,
    /// Buttons: name, value.
    pub buttons: Vec<(String, String)>,
}

impl Browser {
    pub fn new() -> Self {
        Self { direct: client(), proxied: None, cookies: BTreeMap::new(), trail: Vec::new() }
    }

    /// A browser for which the world is behind that proxy, under that CA.
    pub fn behind(proxy: &str, ca_pem: &str) -> Self {
        let ca = Certificate::from_pem(ca_pem.as_bytes()).unwrap();
        let proxied = plain().proxy(Proxy::all(proxy).unwrap()).tls_certs_only([ca]).build().unwrap();
        Self { proxied: Some(proxied), ..Self::new() }
    }

    pub async fn open(&mut self, url: &str) -> Page {
        self.follow(Method::GET, Url::parse(url).unwrap(), None).await
    }

    pub async fn submit(&mut self, page: &Page, form: &Form, set: &[(&str, &str)]) -> Page {
        let kept = form.fields.iter().filter(|(name, _)| set.iter().all(|(other, _)| other != name));
        let pairs: Vec<(&str, &str)> =
            kept.map(|(name, value)| (name.as_str(), value.as_str())).chain(set.iter().copied()).collect();
        let url = page.url.join(&form.action).unwrap();
        self.follow(Method::POST, url, Some(self::form(&pairs))).await
    }

    async fn follow(&mut self, mut method: Method, mut url: Url, mut body: Option<String>) -> Page {
        for _ in 0..12 {
            let origin = url.origin().ascii_serialization();
            let is_here = match url.host().unwrap() {
                Host::Domain(name) => name == "localhost",
                Host::Ipv4(v4) => v4.is_loopback(),
                Host::Ipv6(v6) => v6.is_loopback(),
            };
            let client =
                if is_here { &self.direct } else { self.proxied.as_ref().expect("another machine's page") };
            self.trail.push(url.host_str().unwrap().to_owned());
            let mut request = client.request(method.clone(), url.clone()).header("accept-language", "en");
            if let Some(jar) = self.cookies.get(&origin) {
                let line: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
                request = request.header(COOKIE, line.join("; "));
            }
            if let Some(body) = body.take() {
                request = request.header("content-type", FORM).header("origin", &origin).body(body);
            }
            let answer = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
            for cookie in answer.headers().get_all(SET_COOKIE) {
                self.keep(&origin, cookie.to_str().unwrap());
            }
            let status = answer.status();
            if status.is_redirection() {
                url = url.join(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
                method = Method::GET;
                continue;
            }
            return Page { url, status: status.as_u16(), html: answer.text().await.unwrap() };
        }
        panic!("redirects without end, the last to {url}")
    }

    fn keep(&mut self, origin: &str, cookie: &str) {
        let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
        let jar = self.cookies.entry(origin.to_owned()).or_default();
        if value.is_empty() || cookie.to_ascii_lowercase().contains("max-age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Goes on from a page as an employee would who agrees to everything but one scope, until there is
    /// nothing left to answer, or an error.
    pub async fn go_on(&mut self, mut page: Page, email: &str, password: &str, refused: &str) -> Page {
        for _ in 0..10 {
            if page.status >= 400 {
                return page;
            }
            page = if let Some(form) = page.form_with("password") {
                self.submit(&page, &form, &[("username", email), ("password", password)]).await
            } else if let Some(form) = page.form_with("decision") {
                if form.buttons.iter().any(|(_, value)| value == "allow") {
                    self.submit(&page, &form, &[("decision", "allow")]).await
                } else {
                    let mut set = vec![("decision", "agree")];
                    let scopes =
                        form.boxes.iter().filter(|(name, value, _)| name == "scope" && value != refused);
                    set.extend(scopes.map(|(name, value, _)| (name.as_str(), value.as_str())));
                    self.submit(&page, &form, &set).await
                }
            } else if page.url.path() == "/login" {
                let form = page.form_with("csrf").expect("a way to sign in");
                self.submit(&page, &form, &[]).await
            } else {
                return page;
            };
        }
        panic!("no end, the last page is `{}` at {}", page.title(), page.url)
    }
}

impl Page {
    pub fn forms(&self) -> Vec<Form> {
        let read = |rest: &str| {
            let (tag, inner) = rest.split_once('>').unwrap();
            Form { action: attribute(tag, "action").unwrap_or_default(), ..Form::read(inner) }
        };
        self.html.split("<form").skip(1).map(|rest| read(rest.split("</form>").next().unwrap())).collect()
    }

    pub fn form_with(&self, name: &str) -> Option<Form> {
        self.forms().into_iter().find(|form| form.has(name))
    }

    pub fn form_to(&self, action: &str) -> Option<Form> {
        self.forms().into_iter().find(|form| form.action == action)
    }

    pub fn title(&self) -> &str {
        self.html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or("no title")
    }

    /// The page's words, as they were before they were escaped.
    pub fn text(&self) -> String {
        unescape(&self.html)
    }
}

impl Form {
    fn read(html: &str) -> Self {
        let mut form = Self::default();
        for tag in tags(html, "input") {
            let name = attribute(tag, "name").unwrap_or_default();
            let value = attribute(tag, "value").unwrap_or_default();
            let ticked = tag.contains(" checked");
            match attribute(tag, "type").as_deref() {
                Some("checkbox") => form.boxes.push((name, value, ticked)),
                Some("radio") if !ticked => {}
                _ => form.fields.push((name, value)),
            }
        }
        for tag in tags(html, "button") {
            let of = |name| attribute(tag, name).unwrap_or_default();
            form.buttons.push((of("name"), of("value")));
        }
        for select in html.split("<select").skip(1) {
            let name = attribute(select.split('>').next().unwrap(), "name").unwrap();
            let options = tags(select.split("</select>").next().unwrap(), "option");
            let chosen = options.iter().find(|option| option.contains(" selected")).or(options.first());
            form.fields.push((name, attribute(chosen.unwrap(), "value").unwrap()));
        }
        form
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().chain(&self.buttons).any(|(other, _)| other == name)
            || self.boxes.iter().any(|(other, ..)| other == name)
    }
}

fn tags<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    html.split(&format!("<{name}"))
        .skip(1)
        .filter(|rest| rest.starts_with([' ', '\n', '>']))
        .map(|rest| rest.split('>').next().unwrap())
        .collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescape(rest.split('"').next()?))
}

fn unescape(text: &str) -> String {
    let pairs = [("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">")];
    let mut text = text.to_owned();
    for (written, meant) in
        pairs.into_iter().chain([("&lt;", "<"), ("&gt;", ">"), ("&#38;", "&"), ("&amp;", "&")])
    {
        text = text.replace(written, meant);
    }
    text
}
