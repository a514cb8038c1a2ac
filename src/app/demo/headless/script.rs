//! What is done at each provider: a call inside the grant, and one outside.

/// The calls at one provider. Paths are the vendor's own.
#[derive(Debug)]
pub struct Act {
    /// The scope that the employee leaves unticked.
    pub refused_scope: &'static str,
    /// A call that the agreed scopes open.
    pub allowed: (&'static str, &'static str),
    /// A call that only the refused scope opens.
    pub outside: (&'static str, &'static str),
    /// A JSON body for the outside call.
    pub outside_body: Option<&'static str>,
    /// How the provider renews: by spending the refresh token, or by fetching another app token.
    pub renews_by_refresh: bool,
    /// Seconds until the provider's access token has expired.
    pub access_life_s: u64,
}

/// The act at a provider.
pub fn act_for(provider: &str) -> Act {
    match provider {
        "dingtalk" => Act {
            refused_scope: "Storage.File.Read",
            allowed: ("GET", "api/v1.0/calendar/users/me/calendars/primary/events"),
            outside: ("GET", "api/v1.0/storage/spaces/1/dentries"),
            outside_body: None,
            renews_by_refresh: false,
            access_life_s: 7200,
        },
        "lark" => Act {
            refused_scope: "im:chat:read",
            allowed: ("GET", "open/open-apis/drive/v1/files"),
            outside: ("GET", "open/open-apis/im/v1/chats"),
            outside_body: None,
            renews_by_refresh: true,
            access_life_s: 7200,
        },
        "wecom" => Act {
            refused_scope: "wecom.message.send",
            allowed: ("GET", "qyapi/cgi-bin/user/get"),
            outside: ("POST", "qyapi/cgi-bin/message/send"),
            outside_body: Some(r#"{"msgtype":"text","agentid":1000002,"text":{"content":"hello"}}"#),
            renews_by_refresh: false,
            access_life_s: 7200,
        },
        "entra" => Act {
            refused_scope: "Mail.Send",
            allowed: ("GET", "graph/v1.0/me/messages"),
            outside: ("POST", "graph/v1.0/me/sendMail"),
            outside_body: Some(r#"{"message":{"subject":"hello"}}"#),
            renews_by_refresh: true,
            access_life_s: 5400,
        },
        _ => Act {
            refused_scope: "okta.groups.read",
            allowed: ("GET", "mgmt/api/v1/users/me"),
            outside: ("GET", "mgmt/api/v1/groups"),
            outside_body: None,
            renews_by_refresh: true,
            access_life_s: 3600,
        },
    }
}
