//! Every request as docs/control.md has it: what is sent and what comes back, as JSON.

use crate::answers;
use crate::desk::Desk;

#[test]
fn requests_and_their_answers() {
    let desk = Desk::new();
    answers!(desk,
        r#"POST /v1/create {"name":"golden","size":1048576}"#,
        r#"POST /v1/fork {"source":"golden","name":"web"}"#,
        r#"POST /v1/fork {"source":"golden","name":"job","count":2}"#,
        r#"POST /v1/fork {"source":"golden"}"#,
        r#"POST /v1/snapshot {"snapshots":["golden@v1","web@v1"]}"#,
        r#"POST /v1/rename {"name":"job-2","new":"late"}"#,
        r#"POST /v1/resize {"name":"late","size":2097152}"#,
        "GET /v1/show?target=late",
        "GET /v1/show?target=web@v1",
        "GET /v1/ls",
        "GET /v1/tree",
        "GET /v1/diff?a=golden&b=late",
        r#"POST /v1/rollback {"target":"late"}"#,
        r#"POST /v1/rollback {"target":"late","consent":{"to":"rolling `late` back to what it was forked from (`golden` then) loses changes to 1.0 MiB since: zeroes, discards or another size"}}"#,
        r#"POST /v1/rollback {"target":"web@v1","keep":"kept"}"#,
        r#"POST /v1/defrag {"name":"web"}"#,
        "GET /v1/check?data=true",
        r#"POST /v1/drop {"targets":["web","golden@v1"],"consent":"all"}"#,
        "GET /v1/hello";
        @r#"
    POST /v1/create {"name":"golden","size":1048576}
    200 {"name":"golden","size":1048576}
    POST /v1/fork {"source":"golden","name":"web"}
    200 {"names":["web"],"origin":"golden","size":1048576}
    POST /v1/fork {"source":"golden","name":"job","count":2}
    200 {"names":["job-1","job-2"],"origin":"golden","size":1048576}
    POST /v1/fork {"source":"golden"}
    200 {"names":["golden-1"],"origin":"golden","size":1048576}
    POST /v1/snapshot {"snapshots":["golden@v1","web@v1"]}
    200 {"snapshots":["golden@v1","web@v1"]}
    POST /v1/rename {"name":"job-2","new":"late"}
    200 {"name":"late","was":"job-2"}
    POST /v1/resize {"name":"late","size":2097152}
    200 {"name":"late","size":2097152,"was":1048576}
    GET /v1/show?target=late
    200 {"name":"late","size":2097152,"written":0,"created":"[time]","origin":"golden","protected":false,"snapshots":[]}
    GET /v1/show?target=web@v1
    200 {"name":"web","snapshot":"v1","size":1048576,"created":"[time]"}
    GET /v1/ls
    200 {"branches":[{"name":"golden","size":1048576,"written":0,"created":"[time]","origin":null,"protected":false,"snapshots":[{"snapshot":"v1","size":1048576,"created":"[time]"}]},{"name":"golden-1","size":1048576,"written":0,"created":"[time]","origin":"golden","protected":false,"snapshots":[]},{"name":"job-1","size":1048576,"written":0,"created":"[time]","origin":"golden","protected":false,"snapshots":[]},{"name":"late","size":2097152,"written":0,"created":"[time]","origin":"golden","protected":false,"snapshots":[]},{"name":"web","size":1048576,"written":0,"created":"[time]","origin":"golden","protected":false,"snapshots":[{"snapshot":"v1","size":1048576,"created":"[time]"}]}],"damaged":false}
    GET /v1/tree
    200 {"points":[{"point":1,"parent":null,"size":1048576,"written":0,"name":null,"snapshots":["golden@v1","web@v1"],"forked_as":"golden"},{"point":2,"parent":1,"size":1048576,"written":0,"name":"golden","snapshots":[],"forked_as":null},{"point":3,"parent":1,"size":1048576,"written":0,"name":"web","snapshots":[],"forked_as":null},{"point":4,"parent":1,"size":1048576,"written":0,"name":"job-1","snapshots":[],"forked_as":null},{"point":5,"parent":1,"size":2097152,"written":0,"name":"late","snapshots":[],"forked_as":null},{"point":6,"parent":1,"size":1048576,"written":0,"name":"golden-1","snapshots":[],"forked_as":null}],"damaged":false}
    GET /v1/diff?a=golden&b=late
    200 {"item":{"offset":1048576,"length":1048576}}
    {"done":{"a":"golden","b":"late","a_size":1048576,"b_size":2097152,"ranges":1,"bytes":1048576}}
    POST /v1/rollback {"target":"late"}
    409 {"kind":"unconfirmed","message":"rolling `late` back to what it was forked from (`golden` then) loses changes to 1.0 MiB since: zeroes, discards or another size","hint":"nothing was changed; `--yes` does it all the same"}
    POST /v1/rollback {"target":"late","consent":{"to":"rolling `late` back to what it was forked from (`golden` then) loses changes to 1.0 MiB since: zeroes, discards or another size"}}
    200 {"name":"late","to":"golden","lost":{"changed":1048576},"kept":null}
    POST /v1/rollback {"target":"web@v1","keep":"kept"}
    200 {"name":"web","to":"web@v1","lost":"nothing","kept":"kept"}
    POST /v1/defrag {"name":"web"}
    200 {"done":{"before":{"data":0,"extents":0,"due":0,"due_shared":0},"after":{"data":0,"extents":0,"due":0,"due_shared":0},"rewritten":0,"unshared":0}}
    GET /v1/check?data=true
    200 {"done":{"frames":[n],"segments":0,"runs":0,"blocks":0,"damage":[]}}
    POST /v1/drop {"targets":["web","golden@v1"],"consent":"all"}
    200 {"dropped":["web","web@v1","golden@v1"],"words":"`web` and `golden@v1` with their snapshot","still_read":0}
    GET /v1/hello
    200 {"tine":"0.0.1","api":1,"pid":[pid]}
    "#);
}

#[test]
fn failures_have_a_kind_a_remedy_and_a_status() {
    let desk = Desk::with_disk();
    answers!(desk,
        "GET /v1/show?target=dsik",
        r#"POST /v1/fork {"source":"disk@nope","name":"x"}"#,
        r#"POST /v1/fork {"source":"disk","name":"disk"}"#,
        r#"POST /v1/fork {"source":"disk","count":0}"#,
        r#"POST /v1/create {"name":"a/b","size":1}"#,
        r#"POST /v1/create {"name":"huge","size":9223372036854775807}"#,
        r#"POST /v1/drop {"targets":["disk"]}"#,
        r#"POST /v1/snapshot {"snapshots":["disk"]}"#,
        "GET /v1/read?target=disk&offset=17000000",
        "GET /v1/diff?a=disk&b=nobody",
        r#"POST /v1/defrag {"name":"nobody"}"#;
        @r#"
    GET /v1/show?target=dsik
    404 {"kind":"not_found","message":"no branch named `dsik`","hint":"did you mean `disk`? `tine ls` shows all branches","name":"dsik"}
    POST /v1/fork {"source":"disk@nope","name":"x"}
    404 {"kind":"not_found","message":"branch `disk` has no snapshot named `nope`","hint":"`disk` has no snapshots; `tine snapshot disk@NAME` makes one","name":"disk@nope"}
    POST /v1/fork {"source":"disk","name":"disk"}
    409 {"kind":"exists","message":"there is already a branch named `disk`","hint":"choose another name","name":"disk"}
    POST /v1/fork {"source":"disk","count":0}
    400 {"kind":"invalid","message":"`count` is no whole number from 1 to 65000"}
    POST /v1/create {"name":"a/b","size":1}
    400 {"kind":"invalid","message":"the body of the request is not understood: the name `a/b` has a character other than letters, digits, `.`, `_` and `-` at line 1 column 13","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    POST /v1/create {"name":"huge","size":9223372036854775807}
    400 {"kind":"invalid","message":"a disk cannot have 9223372036854775807 bytes","hint":"the largest disk has 4611686018427387904 bytes (4 EiB)"}
    POST /v1/drop {"targets":["disk"]}
    409 {"kind":"unconfirmed","message":"dropping `disk` loses 8.0 MiB that nothing else has","hint":"nothing was changed; `--yes` does it all the same"}
    POST /v1/snapshot {"snapshots":["disk"]}
    400 {"kind":"invalid","message":"`disk` does not say what to call the snapshot","hint":"put its name behind an `@`: `disk@SNAP`"}
    GET /v1/read?target=disk&offset=17000000
    400 {"kind":"invalid","message":"offset 17000000 is past the end of `disk`","hint":"it has 16777216 bytes (16.0 MiB)"}
    GET /v1/diff?a=disk&b=nobody
    404 {"kind":"not_found","message":"no branch named `nobody`","hint":"`tine ls` shows all branches","name":"nobody"}
    POST /v1/defrag {"name":"nobody"}
    404 {"kind":"not_found","message":"no branch named `nobody`","hint":"`tine ls` shows all branches","name":"nobody"}
    "#);
}

#[test]
fn statistics_come_back_as_they_are() {
    let desk = Desk::with_disk();
    let numbers = desk.client().ask(&tine_server::api::Stats {}).unwrap();
    assert_eq!(numbers.store.branches, 1);
    assert_eq!(numbers.store.user_written, 8 << 20);
}
