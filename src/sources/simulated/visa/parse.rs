//! A device file of pyvisa-sim (specification 1.0 and 1.1): which device is meant, and what it does.
//!
//! Source: pyvisa-sim 0.7.1 (MIT), its documentation "Building your own simulated instruments" and `parser.py`. Only the
//! device that is meant is read. Does not: `bases`, which pyvisa-sim does not take either, and the devices that are part of
//! pyvisa-sim (`bundled`). What no device could do is a fault of the file, with its place.

use super::definition::{
    Asked, Channels, Commands, Definition, Property, Queue, Random, Said, Setter, Specs,
};
use super::fault::Fault;
use super::format::Format;
use super::template::Template;
use super::value::{Kind, Value, float, int};
use super::yaml::{self, Node};
use crate::limits;
use regex_lite::Regex;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// Reads the device at `resource` of a file, or at its first serial resource, or at its only one.
///
/// # Errors
/// The first fault of the file, or of the one that it names.
pub fn read(file: &Path, resource: Option<&str>) -> Result<Definition, Fault> {
    let root = load(file)?;
    let (name, entry) = choose(&root, resource).map_err(|fault| fault.of(file))?;
    let plain = |node: &Node, key: &str| node.text(key).map(str::to_string);
    let wish = (|| {
        if let Some(bundled) = entry.member("bundled") {
            return Err(bundled
                .at
                .fault("the devices that are part of pyvisa-sim are not here; name their file"));
        }
        let device = entry.needs("device")?;
        let other = entry.member("filename").map(|node| plain(node, "filename")).transpose()?;
        Ok((device.at, plain(device, "device")?, other))
    })();
    let (at, device, other) = wish.map_err(|fault| fault.of(file))?;
    let none = || at.fault(format!("there is no device `{device}`")).of(file);
    match other {
        None => {
            let node = root.member("devices").and_then(|devices| devices.member(&device)).ok_or_else(none)?;
            definition(&device, node, name, entry).map_err(|fault| fault.of(file))
        }
        Some(other) => {
            let other = file.parent().unwrap_or(Path::new(".")).join(other);
            let root = load(&other)?;
            let node = root.member("devices").and_then(|devices| devices.member(&device)).ok_or_else(none)?;
            definition(&device, node, name, entry).map_err(|fault| fault.of(&other))
        }
    }
}

fn load(file: &Path) -> Result<Node, Fault> {
    let failed =
        |why: String| Fault { file: Some(file.into()), at: None, text: format!("failed to read: {why}") };
    let is_file = std::fs::metadata(file).map_err(|e| failed(e.to_string()))?.is_file();
    if !is_file {
        return Err(failed("it is no file".into()));
    }
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(|e| failed(e.to_string()))?;
    open.take(limits::VISA_FILE + 1).read_to_string(&mut text).map_err(|e| failed(e.to_string()))?;
    if text.len() as u64 > limits::VISA_FILE {
        return Err(failed(format!("it is larger than {} bytes", limits::VISA_FILE)));
    }
    document(&text).map_err(|fault| fault.of(file))
}

/// The document of a text, when it is of a version that is known.
fn document(text: &str) -> Result<Node, Fault> {
    let root = yaml::read(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let spec = root.needs("spec")?;
    let version = spec.text("spec")?;
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.trim().parse().ok()).collect();
    match parts.as_deref() {
        Some([1] | [1, 0 | 1]) => Ok(root),
        _ => Err(spec.at.fault(format!("`spec` is {version:?}; expected \"1.0\" or \"1.1\""))),
    }
}

/// The device at a resource of a text; what the file names besides is not looked for.
///
/// # Errors
/// The first fault.
#[cfg(test)]
pub fn parse(text: &str, resource: Option<&str>) -> Result<Definition, Fault> {
    let root = document(text)?;
    let (name, entry) = choose(&root, resource)?;
    let device = entry.needs("device")?;
    let id = device.text("device")?;
    let node = root.member("devices").and_then(|devices| devices.member(id));
    let node = node.ok_or_else(|| device.at.fault(format!("there is no device `{id}`")))?;
    definition(id, node, name, entry)
}

/// The resource that is meant.
fn choose<'a>(root: &'a Node, wanted: Option<&str>) -> Result<(&'a str, &'a Node), Fault> {
    let resources = root.needs("resources")?;
    let all = resources.members("resources")?;
    let found = match wanted {
        Some(wanted) => all.iter().find(|(name, _)| Resource::of(name) == Resource::of(wanted)),
        None => match all {
            [only] => Some(only),
            _ => all.iter().find(|(name, _)| Resource::of(name).interface == "ASRL"),
        },
    };
    found.map(|(name, entry)| (name.as_str(), entry)).ok_or_else(|| {
        let names: Vec<String> = all.iter().take(8).map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        resources.at.fault(match wanted {
            Some(wanted) => format!("there is no resource `{wanted}`; expected one of {names}"),
            None => format!("none of the resources is serial; say after a # which is meant: {names}"),
        })
    })
}

/// A VISA resource name taken apart, so that `GPIB::1` and `gpib0::1::instr` are the same.
#[derive(Clone, Debug, PartialEq)]
struct Resource {
    interface: String,
    /// Board and address.
    address: Vec<String>,
    class: String,
}

/// Source: VPP-4.3 (VISA library), 4.3.1, as far as pyvisa-sim knows them.
const INTERFACES: [&str; 6] = ["ASRL", "GPIB", "PXI", "TCPIP", "USB", "VXI"];
const CLASSES: [&str; 4] = ["INSTR", "SOCKET", "RAW", "INTFC"];

impl Resource {
    fn of(name: &str) -> Resource {
        let upper = name.to_uppercase();
        let mut parts: Vec<String> = upper.split("::").map(str::to_string).collect();
        let class = match parts.last() {
            Some(last) if parts.len() > 1 && CLASSES.contains(&last.as_str()) => parts.pop(),
            _ => None,
        };
        let mut interface = String::new();
        if let Some(first) = parts.first_mut()
            && let Some(known) = INTERFACES.iter().find(|known| first.starts_with(**known))
        {
            interface = (*known).into();
            let board = first.split_off(known.len());
            *first = if board.is_empty() { "0".into() } else { board };
        }
        Resource { interface, address: parts, class: class.unwrap_or_else(|| "INSTR".into()) }
    }
}

fn definition(name: &str, device: &Node, resource: &str, entry: &Node) -> Result<Definition, Fault> {
    no_bases(device)?;
    let (query_end, answer_end) = ends(device, resource)?;
    let delimiter = match device.member("delimiter") {
        Some(node) => node.text("delimiter")?.as_bytes().to_vec(),
        None => b";".to_vec(),
    };
    let mut own = Commands::default();
    let mut names = HashMap::new();
    commands(device, &mut own, &mut names)?;
    let mut definition = Definition {
        name: name.into(),
        resource: resource.into(),
        query_end,
        answer_end,
        delimiter,
        own,
        registers: Vec::new(),
        error_bits: None,
        queues: Vec::new(),
        refusal: None,
        groups: Vec::new(),
    };
    if let Some(error) = device.member("error") {
        errors(error, &mut definition)?;
    }
    if let Some(node) = device.member("channels") {
        for (group, channels) in node.members("channels")? {
            let ids = entry.member("channel_ids").and_then(|ids| ids.member(group));
            definition.groups.push(group_of(channels, ids, &names)?);
        }
    }
    Ok(definition)
}

fn no_bases(node: &Node) -> Result<(), Fault> {
    match node.member("bases") {
        Some(bases) => {
            Err(bases.at.fault("`bases` is not supported, as in pyvisa-sim; write out what is meant"))
        }
        None => Ok(()),
    }
}

/// `\r` and `\n` may be written out; they are meant.
fn bytes(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
}

/// A member of a mapping that is text, without the spaces around it.
fn member<'a>(node: &'a Node, name: &str) -> Result<Option<(&'a Node, &'a str)>, Fault> {
    match node.member(name) {
        Some(member) => Ok(Some((member, member.text(name)?.trim_matches(' ')))),
        None => Ok(None),
    }
}

fn needed<'a>(node: &'a Node, name: &str) -> Result<(&'a Node, &'a str), Fault> {
    let member = node.needs(name)?;
    Ok((member, member.text(name)?.trim_matches(' ')))
}

/// What ends a query and an answer at this kind of resource.
fn ends(device: &Node, resource: &str) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let lf = || (b"\n".to_vec(), b"\n".to_vec());
    let Some(eom) = device.member("eom") else { return Ok(lf()) };
    let Resource { interface, class, .. } = Resource::of(resource);
    let wanted = format!("{interface} {class}");
    let found = eom.members("eom")?.iter().find(|(name, _)| name.to_uppercase() == wanted);
    let Some((_, node)) = found else { return Ok(lf()) };
    let (at, query) = needed(node, "q")?;
    if query.is_empty() {
        return Err(at.at.fault("`q` is empty; expected what ends a query"));
    }
    Ok((bytes(query), bytes(needed(node, "r")?.1)))
}

fn errors(error: &Node, definition: &mut Definition) -> Result<(), Fault> {
    if let yaml::Value::Text(text) = &error.value {
        definition.refusal = Some(bytes(text));
        return Ok(());
    }
    if let Some(response) = error.member("response")
        && let Some(text) = response.member("command_error")
    {
        definition.refusal = Some(bytes(text.text("command_error")?));
    }
    if let Some(registers) = error.member("status_register") {
        for register in registers.items("status_register")? {
            let query = bytes(register.needs("q")?.text("q")?);
            let place = definition.registers.iter().position(|other| *other == query).unwrap_or_else(|| {
                definition.registers.push(query);
                definition.registers.len() - 1
            });
            if let Some(node) = register.member("command_error") {
                let text = node.text("command_error")?;
                let bits = int(text).and_then(|bits| i64::try_from(bits).ok());
                let bits = bits.ok_or_else(|| node.at.fault(format!("{text:?} is no whole number")))?;
                definition.error_bits = Some((place, bits));
            }
        }
    }
    if let Some(queues) = error.member("error_queue") {
        for queue in queues.items("error_queue")? {
            let query = bytes(queue.needs("q")?.text("q")?);
            let default = bytes(queue.needs("default")?.text("default")?);
            let wrong = queue.member("command_error").map(|node| node.text("command_error")).transpose()?;
            definition.queues.retain(|other| other.query != query);
            definition.queues.push(Queue { query, default, command_error: wrong.map(bytes) });
        }
    }
    Ok(())
}

/// Dialogues and properties. `names` gets the places of the properties.
fn commands(node: &Node, into: &mut Commands, names: &mut HashMap<String, usize>) -> Result<(), Fault> {
    if let Some(dialogues) = node.member("dialogues") {
        for dialogue in dialogues.items("dialogues")? {
            let (_, query) = needed(dialogue, "q")?;
            let said = match member(dialogue, "r")? {
                None => Said::Nothing,
                Some((_, text)) => random(text).unwrap_or_else(|| Said::Text(bytes(text))),
            };
            into.answers.insert(bytes(query), said);
        }
    }
    let Some(properties) = node.member("properties") else { return Ok(()) };
    for (name, property) in properties.members("properties")? {
        let place = into.properties.len();
        names.insert(name.clone(), place);
        into.properties.push(property_of(name, property)?);
        if let Some(getter) = property.member("getter") {
            let (_, query) = needed(getter, "q")?;
            let (at, text) = needed(getter, "r")?;
            let said = match random(text) {
                Some(said) => said,
                None => Said::Value(Format::parse(text, "").map_err(|why| at.at.fault(why))?),
            };
            into.getters.insert(bytes(query), (place, said));
        }
        if let Some(setter) = property.member("setter") {
            let (at, query) = needed(setter, "q")?;
            let answer = member(setter, "r")?.map(|(_, text)| bytes(text));
            let error = member(setter, "e")?.map(|(_, text)| bytes(text));
            let template = Template::parse(query).map_err(|why| at.at.fault(why))?;
            into.setters.push(Setter { property: place, template, answer, error });
        }
    }
    Ok(())
}

fn property_of(name: &str, node: &Node) -> Result<Property, Fault> {
    let specs = match node.member("specs") {
        Some(specs) if !specs.members("specs")?.is_empty() => Some(specs_of(specs)?),
        _ => None,
    };
    let (at, default) = match node.member("default") {
        Some(default) => (default.at, default.text("default")?),
        None => (node.at, ""),
    };
    let property = Property { default: Value::Text(default.into()), specs };
    match property.accept(property.default.clone()) {
        Some(default) => Ok(Property { default, ..property }),
        None => Err(at.fault(format!("`default` of `{name}` is {default:?}, which its own specs refuse"))),
    }
}

fn specs_of(node: &Node) -> Result<Specs, Fault> {
    let kind = node.needs("type")?;
    let kind = match kind.text("type")? {
        "float" => Kind::Float,
        "int" => Kind::Int,
        "str" => Kind::Text,
        other => return Err(kind.at.fault(format!("`type` is {other:?}; expected float, int or str"))),
    };
    let value = |node: &Node, name: &str| {
        let text = node.text(name)?;
        let value = Value::Text(text.into()).into_kind(kind);
        value.ok_or_else(|| {
            node.at.fault(format!("`{name}` is {text:?}, which is not of the property's type"))
        })
    };
    let limit = |name: &str| node.member(name).map(|limit| value(limit, name)).transpose();
    let valid = match node.member("valid") {
        Some(valid) => {
            valid.items("valid")?.iter().map(|item| value(item, "valid")).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    Ok(Specs { kind, min: limit("min")?, max: limit("max")?, valid })
}

/// Numbers drawn anew, when that is what an answer asks for: `{RANDOM(low, high, count):.2f}`.
fn random(text: &str) -> Option<Said> {
    if !text.contains("RANDOM") {
        return None;
    }
    let drawn = || {
        const NUMBERS: &str = r"RANDOM\((\d*.\d*), (\d*.\d*), (\d*)\)";
        let found = Regex::new(&format!(r"\{{{NUMBERS}.*\}}")).ok()?.captures(text)?;
        let part = |at| found.get(at).map(|part| part.as_str());
        let count = usize::try_from(int(part(3)?)?).ok().filter(|count| *count <= limits::VISA_DRAWN)?;
        let format = Regex::new(NUMBERS).ok()?.replace_all(text, "").into_owned();
        let (low, high) = (float(part(1)?)?, float(part(2)?)?);
        Some(Random { low, high, count, format: Format::parse(&format, "").ok()? })
    };
    Some(drawn().map_or(Said::Broken, Said::Random))
}

fn group_of(node: &Node, ids: Option<&Node>, device: &HashMap<String, usize>) -> Result<Channels, Fault> {
    no_bases(node)?;
    let ids = match ids
        .filter(|ids| ids.items("channel_ids").is_ok_and(|ids| !ids.is_empty()))
        .or(node.member("ids"))
    {
        Some(ids) => {
            ids.items("ids")?.iter().map(|id| id.text("ids").map(str::to_string)).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    // Only this word says no, in pyvisa-sim as well.
    let is_selected = match node.member("can_select") {
        Some(word) => word.text("can_select")? == "False",
        None => false,
    };
    let selected = match (is_selected, device.get("selected_channel")) {
        (false, _) => None,
        (true, Some(place)) => Some(*place),
        (true, None) => {
            return Err(node
                .at
                .fault("with `can_select: False` the device needs a property `selected_channel`"));
        }
    };
    let mut commands = Commands::default();
    self::commands(node, &mut commands, &mut HashMap::new())?;
    let queries = commands.answers.len() + commands.getters.len();
    if ids.len().saturating_mul(queries + commands.properties.len()) > limits::VISA_VALUES {
        return Err(node.at.fault(format!("the channels have more than {} queries", limits::VISA_VALUES)));
    }
    let Commands { answers, getters, .. } = &mut commands;
    let (answers, getters) = (std::mem::take(answers), std::mem::take(getters));
    let asked = if selected.is_some() {
        vec![Asked { answers, getters }]
    } else {
        ids.iter().map(|id| asked_of(id, &answers, &getters, node)).collect::<Result<_, _>>()?
    };
    Ok(Channels { ids, commands, asked, selected })
}

/// The queries of one channel: its id stands in each.
fn asked_of(
    id: &str,
    answers: &HashMap<Vec<u8>, Said>,
    getters: &HashMap<Vec<u8>, (usize, Said)>,
    node: &Node,
) -> Result<Asked, Fault> {
    let id = Value::Text(id.into());
    let of_channel = |query: &[u8]| {
        let text = String::from_utf8_lossy(query);
        let format = Format::parse(&text, "ch_id")
            .map_err(|why| node.at.fault(format!("the query {text:?} of a channel: {why}")))?;
        Ok::<_, Fault>(format.fill(&id).unwrap_or_default().into_bytes())
    };
    let mut asked = Asked::default();
    for (query, said) in answers {
        asked.answers.insert(of_channel(query)?, said.clone());
    }
    for (query, said) in getters {
        asked.getters.insert(of_channel(query)?, said.clone());
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
