//! A template engine's scopes: each block sees what its surroundings know, and what it sets is gone behind it. A scope is a clone.
//!
//! `cargo run -p tine-values --example template`

use tine_values::{Array, Key, Text, Value};

/// `{{name.key}}` prints, `{{#each name}} … {{/each}}` repeats, with `item` and `key` set.
fn render(template: &str, scope: &Array) -> Text {
    let mut page = Text::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        page.push_str(before);
        let (tag, behind) = behind.split_once("}}").unwrap_or((behind, ""));
        rest = behind;
        let Some(name) = tag.strip_prefix("#each ") else {
            page.push_str(&shown(&look_up(scope, tag)));
            continue;
        };
        let (body, behind) = rest.split_once("{{/each}}").unwrap_or((rest, ""));
        rest = behind;
        let list = look_up(scope, name);
        for (key, item) in list.as_array().cloned().unwrap_or_default() {
            // A count; what is set in here is nobody else's.
            let mut inner = scope.clone();
            inner.insert("key", key);
            inner.insert("item", item);
            page.push_str(&render(body, &inner));
        }
    }
    page.push_str(rest);
    page
}

fn look_up(scope: &Array, path: &str) -> Value {
    let mut value = Value::from(scope.clone());
    for name in path.split('.') {
        let next = value.as_array().and_then(|array| array.get(&Key::php_text(name)));
        value = next.unwrap_or_default();
    }
    value
}

fn shown(value: &Value) -> Text {
    match value {
        Value::Null => Text::new(),
        Value::Text(text) => Text::clone(text),
        other => tine_values::text!("{other:?}"),
    }
}

pub(crate) fn main() {
    let mut site = Array::new();
    site.insert("title", "Trees");
    let trees = [("oak", 40), ("birch", 25), ("pine", 45)];
    let trees =
        trees.map(|(name, height)| Array::from([("name", Value::from(name)), ("height", height.into())]));
    site.insert("trees", Array::from_list(trees));
    let template = "<h1>{{title}}</h1>\n{{#each trees}}{{key}}: {{item.name}}, {{item.height}} m\n{{/each}}{{item.name}}";
    let page = render(template, &site);
    print!("{page}");
    assert_eq!(
        page,
        "<h1>Trees</h1>\n0: oak, 40 m\n1: birch, 25 m\n2: pine, 45 m\n"
    );
    assert_eq!(site.len(), 2);
}
