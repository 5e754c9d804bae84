//! The modules of a crate as their text has them: what each defines, imports and names.
//!
//! Reads syntax, not types. So it sees every path (in code, in `use`, and in the arguments of
//! macros), and looks through re-exports to the file that defines an item. It does not see a method
//! call of a type whose `impl` is in another file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, Meta, UseTree,
    visit::{self, Visit},
};

/// Most steps from a name over re-exports to its definition.
const MOST_STEPS: usize = 32;

/// All modules of a crate, those of its tests included.
pub struct Modules {
    /// The first one is the root.
    all: Vec<Module>,
    files: Vec<PathBuf>,
}

/// One module, in a file of its own or in braces.
#[derive(Default)]
struct Module {
    /// Its name from the root on; empty for the root.
    path: Vec<String>,
    parent: usize,
    file: usize,
    children: BTreeMap<String, usize>,
    /// Names of its items other than modules and imports.
    defines: BTreeSet<String>,
    imports: Vec<Import>,
    names: Vec<Named>,
}

/// One name of a `use`.
#[derive(Clone)]
struct Import {
    /// What it is called here; `None` for `*`.
    name: Option<String>,
    target: Vec<String>,
    is_reexport: bool,
    in_test: bool,
}

/// One path in the code.
struct Named {
    path: Vec<String>,
    in_test: bool,
}

/// What a path leads to.
enum Target {
    Module(usize),
    /// An item: the number of its file, and its name.
    Item(usize, String),
}

impl Modules {
    /// Reads a crate from the file of its root; `text` gives the text of a file, or `None` where
    /// there is no such file.
    pub fn read(root: &Path, text: &impl Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self { all: vec![Module::default()], files: Vec::new() };
        // The children of a root are in its own folder, like those of a `mod.rs`.
        modules.read_file(0, root.to_owned(), root.parent().unwrap().to_owned(), false, text);
        modules
    }

    fn read_file(
        &mut self,
        module: usize,
        file: PathBuf,
        folder: PathBuf,
        in_test: bool,
        text: &impl Fn(&Path) -> Option<String>,
    ) {
        let code = text(&file).unwrap_or_else(|| panic!("{} cannot be read", file.display()));
        let code = syn::parse_file(&code).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.files.push(file);
        self.all[module].file = self.files.len() - 1;
        let mut reader = Reader { modules: self, module, folder, in_test, text };
        reader.visit_file(&code);
    }

    /// Adds a module.
    fn add(&mut self, parent: usize, name: &str) -> usize {
        let path = [&self.all[parent].path[..], &[name.to_owned()]].concat();
        let file = self.all[parent].file;
        self.all.push(Module { path, parent, file, ..Module::default() });
        let added = self.all.len() - 1;
        self.all[parent].children.insert(name.to_owned(), added);
        added
    }

    /// The file with this number.
    pub fn file(&self, number: usize) -> &Path {
        &self.files[number]
    }

    /// Which file needs an item of which other one, and the name of such an item. Code of tests
    /// does not count, and neither do re-exports: they need an item only if the code below them
    /// names it.
    pub fn edges(&self) -> BTreeMap<(usize, usize), String> {
        let mut edges = BTreeMap::new();
        for (at, module) in self.all.iter().enumerate() {
            let imports = module.imports.iter().filter(|import| !import.is_reexport && !import.in_test);
            let globs = imports.clone().filter(|import| import.name.is_none()).map(|import| &import.target);
            let globs = globs.filter_map(|path| match self.resolve(at, path, 0)? {
                Target::Module(module) => Some((self.all[module].file, "*".to_owned())),
                Target::Item(..) => None,
            });
            let named = module.names.iter().filter(|named| !named.in_test).map(|named| &named.path);
            let items = imports.map(|import| &import.target).chain(named);
            let items = items.filter_map(|path| match self.resolve(at, path, 0)? {
                Target::Item(file, name) => Some((file, name)),
                Target::Module(_) => None,
            });
            for (to, name) in items.chain(globs).filter(|(to, _)| *to != module.file) {
                edges.entry((module.file, to)).or_insert(name);
            }
        }
        edges
    }

    /// Which file names which module below the root, tests included.
    pub fn first_names(&self) -> BTreeSet<(usize, String)> {
        let mut found = BTreeSet::new();
        for (at, module) in self.all.iter().enumerate() {
            let imported = module.imports.iter().map(|import| &import.target);
            for path in imported.chain(module.names.iter().map(|named| &named.path)) {
                if let Some(first) = self.absolute(at, path).into_iter().next()
                    && self.all[0].children.contains_key(&first)
                {
                    found.insert((module.file, first));
                }
            }
        }
        found
    }

    /// A path from the root on; empty for one that may lead into another crate.
    fn absolute(&self, mut module: usize, path: &[String]) -> Vec<String> {
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => return path[1..].to_vec(),
            Some("self") => rest = &path[1..],
            Some("super") => {}
            _ => return Vec::new(),
        }
        while let [first, others @ ..] = rest
            && first == "super"
        {
            (module, rest) = (self.all[module].parent, others);
        }
        [&self.all[module].path[..], rest].concat()
    }

    /// Finds what a path in a module leads to; `None`: into another crate.
    fn resolve(&self, module: usize, path: &[String], steps: usize) -> Option<Target> {
        match path.first()?.as_str() {
            "crate" => self.walk(0, &path[1..], steps, true),
            "self" => self.walk(module, &path[1..], steps, true),
            "super" => self.walk(self.all[module].parent, &path[1..], steps, true),
            _ => self.walk(module, path, steps, false),
        }
    }

    /// Goes down from a module. Where `is_inside`, a name that is not found (a macro may make it)
    /// is the module's own.
    fn walk(&self, at: usize, path: &[String], steps: usize, is_inside: bool) -> Option<Target> {
        let module = &self.all[at];
        let Some((first, rest)) = path.split_first() else { return Some(Target::Module(at)) };
        if steps > MOST_STEPS {
            return None;
        }
        if first == "super" {
            return self.walk(module.parent, rest, steps + 1, is_inside);
        }
        let is_item = module.defines.contains(first);
        if let Some(child) = module.children.get(first).filter(|_| !is_item || !rest.is_empty()) {
            return self.walk(*child, rest, steps + 1, true);
        }
        if is_item {
            return Some(Target::Item(module.file, first.clone()));
        }
        let of_that_name = |import: &&Import| import.name.as_ref() == Some(first);
        if let Some(import) = module.imports.iter().find(of_that_name) {
            // `use hickory::hickory` would lead to itself.
            return match self.resolve(at, &import.target, steps + 1)? {
                Target::Module(module) => self.walk(module, rest, steps + 1, true),
                item => Some(item),
            };
        }
        for import in module.imports.iter().filter(|import| import.name.is_none()) {
            if let Some(Target::Module(module)) = self.resolve(at, &import.target, steps + 1)
                && let Some(target) = self.walk(module, path, steps + 1, false)
            {
                return Some(target);
            }
        }
        is_inside.then(|| Target::Item(module.file, first.clone()))
    }
}

/// Reads one module; others are added on the way.
struct Reader<'m, F> {
    modules: &'m mut Modules,
    module: usize,
    /// Where the files of its children are.
    folder: PathBuf,
    in_test: bool,
    text: &'m F,
}

impl<F: Fn(&Path) -> Option<String>> Reader<'_, F> {
    fn here(&mut self) -> &mut Module {
        &mut self.modules.all[self.module]
    }

    fn read_module(&mut self, item: &syn::ItemMod) {
        let has_path = |attribute: &Attribute| attribute.path().is_ident("path");
        assert!(!item.attrs.iter().any(has_path), "`#[path]` hides where {} is", item.ident);
        let name = item.ident.to_string();
        let module = self.modules.add(self.module, &name);
        let folder = self.folder.join(&name);
        if let Some((_, items)) = &item.content {
            let (outer, outside) =
                (std::mem::replace(&mut self.module, module), std::mem::replace(&mut self.folder, folder));
            items.iter().for_each(|item| self.visit_item(item));
            (self.module, self.folder) = (outer, outside);
        } else {
            let files = [self.folder.join(format!("{name}.rs")), folder.join("mod.rs")];
            let file = files.into_iter().find(|file| (self.text)(file).is_some());
            let file = file.unwrap_or_else(|| panic!("there is no file of the module {}", folder.display()));
            self.modules.read_file(module, file, folder, self.in_test, self.text);
        }
    }

    fn add_imports(&mut self, tree: &UseTree, before: &[String], is_reexport: bool) {
        let in_test = self.in_test;
        let mut add = |name: Option<String>, target: Vec<String>| {
            let import = Import { name, target, is_reexport, in_test };
            self.modules.all[self.module].imports.push(import);
        };
        match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.add_imports(&path.tree, &before, is_reexport);
            }
            UseTree::Name(name) if name.ident == "self" => add(before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                add(Some(name.clone()), [before, &[name]].concat());
            }
            UseTree::Rename(rename) if rename.ident == "self" => {
                add(Some(rename.rename.to_string()), before.to_vec());
            }
            UseTree::Rename(rename) => {
                add(Some(rename.rename.to_string()), [before, &[rename.ident.to_string()]].concat());
            }
            UseTree::Glob(_) => add(None, before.to_vec()),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_imports(tree, before, is_reexport));
            }
        }
    }

    fn add_name(&mut self, path: Vec<String>) {
        let in_test = self.in_test;
        self.here().names.push(Named { path, in_test });
    }

    /// The paths in the arguments of a macro, whose syntax is the macro's own.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.add_name(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    if !path.is_empty() {
                        self.add_name(std::mem::take(&mut path));
                    }
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.read_tokens(group.stream());
                    }
                }
            }
        }
        if !path.is_empty() {
            self.add_name(path);
        }
    }

    fn within(&mut self, attributes: &[Attribute], read: impl FnOnce(&mut Self)) {
        let outer = self.in_test;
        self.in_test |= attributes.iter().any(is_test_only);
        read(self);
        self.in_test = outer;
    }
}

impl<'a, F: Fn(&Path) -> Option<String>> Visit<'a> for Reader<'_, F> {
    fn visit_item(&mut self, item: &'a Item) {
        let (attributes, name) = head(item);
        if let Some(name) = name {
            self.here().defines.insert(name);
        }
        self.within(attributes, |reader| match item {
            Item::Mod(item) => reader.read_module(item),
            Item::Use(item) => {
                let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
                reader.add_imports(&item.tree, &[], is_reexport);
            }
            item => visit::visit_item(reader, item),
        });
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let attributes = match item {
            ImplItem::Fn(item) => item.attrs.as_slice(),
            ImplItem::Const(item) => &item.attrs,
            _ => &[],
        };
        self.within(attributes, |reader| visit::visit_impl_item(reader, item));
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.add_name(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        self.visit_path(&item.path);
        self.read_tokens(item.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

/// The attributes of an item, and its name if others can name it by it.
fn head(item: &Item) -> (&[Attribute], Option<String>) {
    let (attributes, name) = match item {
        Item::Const(item) => (&item.attrs, &item.ident),
        Item::Enum(item) => (&item.attrs, &item.ident),
        Item::Fn(item) => (&item.attrs, &item.sig.ident),
        Item::Static(item) => (&item.attrs, &item.ident),
        Item::Struct(item) => (&item.attrs, &item.ident),
        Item::Trait(item) => (&item.attrs, &item.ident),
        Item::Type(item) => (&item.attrs, &item.ident),
        Item::Union(item) => (&item.attrs, &item.ident),
        Item::Macro(item) => return (&item.attrs, item.ident.as_ref().map(ToString::to_string)),
        Item::Impl(item) => return (&item.attrs, None),
        Item::Mod(item) => return (&item.attrs, None),
        Item::Use(item) => return (&item.attrs, None),
        _ => return (&[], None),
    };
    (attributes, Some(name.to_string()))
}

/// Whether an item with this attribute is compiled for tests only.
fn is_test_only(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
    list.path.is_ident("cfg")
        && matches!(list.tokens.clone().into_iter().next(), Some(TokenTree::Ident(first)) if first == "test")
}
