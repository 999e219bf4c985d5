//! Real folders, real inotify. Each waits for what it expects to be published.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Waiting longer than this for a change that was made means that it was not seen.
const PATIENCE: Duration = Duration::from_secs(30);

fn backend(name: &str, port: u16) -> String {
    format!(
        "apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\nspec:\n  static: [{{address: 127.0.0.1, port: {port}}}]\n"
    )
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.yaml"), backend("web", 1)).unwrap();
    folder
}

/// By inotify alone, so that looking now and then does not hide what it misses.
const INOTIFY: Means = Means {
    inotify: true,
    look_watched: Duration::from_hours(1),
};
/// Where there is no inotify.
const LOOKS: Means = Means {
    inotify: false,
    ..INOTIFY
};

fn open(folder: &Path) -> Result<Directory, SourceError> {
    Directory::open_with(folder, INOTIFY)
}

/// The ports of the first endpoint of each Backend.
fn ports(loaded: &Loaded) -> Vec<u16> {
    loaded
        .objects
        .backends
        .iter()
        .map(|b| b.spec.fixed.as_ref().unwrap()[0].port)
        .collect()
}

/// Waits until what is published is as wanted.
async fn until(
    receiver: &mut watch::Receiver<Arc<Loaded>>,
    wanted: impl Fn(&Loaded) -> bool,
) -> Arc<Loaded> {
    let waiting = async {
        let loaded = receiver.wait_for(|loaded| wanted(loaded)).await;
        loaded.expect("the thread lives").clone()
    };
    let outcome = tokio::time::timeout(PATIENCE, waiting).await;
    outcome.unwrap_or_else(|_| panic!("never published; there is: {:?}", receiver.borrow()))
}

#[tokio::test]
async fn a_written_file_is_published_without_being_asked() {
    for means in [INOTIFY, LOOKS] {
        let folder = folder();
        let directory = Directory::open_with(folder.path(), means).unwrap();
        let mut loaded = directory.loaded();
        assert_eq!(
            (ports(&loaded.borrow()), loaded.borrow().revision),
            (vec![1], 1)
        );

        fs::write(folder.path().join("web.yaml"), backend("web", 2)).unwrap();
        assert_eq!(until(&mut loaded, |l| ports(l) == [2]).await.revision, 2);

        fs::write(folder.path().join("api.yml"), backend("api", 3)).unwrap();
        until(&mut loaded, |l| ports(l) == [3, 2]).await;

        fs::remove_file(folder.path().join("api.yml")).unwrap();
        until(&mut loaded, |l| ports(l) == [2]).await;
    }
}

#[tokio::test]
async fn a_bad_file_changes_nothing_that_runs_and_is_told() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    let mut loaded = directory.loaded();
    // A good change beside a bad one: the folder is taken as a whole, so neither is.
    fs::write(folder.path().join("z.yaml"), backend("z", 0)).unwrap();
    fs::write(folder.path().join("web.yaml"), backend("web", 2)).unwrap();
    until(&mut loaded, |l| !l.errors.is_empty()).await;
    let kept = directory.reload().await;
    assert_eq!((ports(&kept), kept.revision), (vec![1], 1));
    assert_eq!(
        kept.errors[0].to_string(),
        format!(
            "{}:5: spec.static[0].port: found 0; allowed: a whole number from 1 to 65535",
            folder.path().join("z.yaml").display()
        )
    );
    // Mended: both are taken.
    fs::write(folder.path().join("z.yaml"), backend("z", 9)).unwrap();
    let taken = until(&mut loaded, |l| l.errors.is_empty()).await;
    assert_eq!((ports(&taken), taken.revision), (vec![2, 9], 2));
}

#[tokio::test]
async fn a_bad_file_that_is_undone_leaves_the_revision() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    let file = folder.path().join("web.yaml");
    fs::write(&file, "kind: [").unwrap();
    assert_eq!(directory.reload().await.errors.len(), 1);
    fs::write(&file, backend("web", 1)).unwrap();
    let loaded = directory.reload().await;
    assert_eq!((loaded.errors.len(), loaded.revision), (0, 1));
}

#[tokio::test]
async fn a_reload_that_is_asked_for_is_done_when_it_answers() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    for port in 2..50 {
        fs::write(folder.path().join("web.yaml"), backend("web", port)).unwrap();
        let loaded = directory.reload().await;
        assert_eq!(ports(&loaded), [port]);
        assert_eq!(*directory.loaded().borrow(), loaded);
    }
}

#[tokio::test]
async fn what_means_the_same_is_not_published_as_a_change() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    let mut loaded = directory.loaded();
    loaded.mark_unchanged();
    let file = folder.path().join("web.yaml");
    // In one step, so that nobody can read half of it.
    let next = folder.path().join(".next");
    fs::write(&next, format!("{}# a comment\n", backend("web", 1))).unwrap();
    fs::rename(&next, &file).unwrap();
    directory.reload().await;
    fs::write(&next, backend("web", 1)).unwrap();
    fs::rename(&next, &file).unwrap();
    directory.reload().await;
    assert!(!loaded.has_changed().unwrap());
}

#[tokio::test]
async fn an_emptied_file_and_an_emptied_folder_take_nothing_away() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    let file = folder.path().join("web.yaml");
    for text in ["", "---\n", "# nothing\n"] {
        fs::write(&file, text).unwrap();
        let loaded = directory.reload().await;
        assert_eq!(ports(&loaded), [1]);
        assert!(
            loaded.errors[0].message.contains("holds no object"),
            "{:?}",
            loaded.errors
        );
    }
    fs::remove_file(&file).unwrap();
    let loaded = directory.reload().await;
    assert_eq!(ports(&loaded), [1]);
    assert!(loaded.errors[0].message.contains("no .yaml or .yml file"));
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_rename_is_seen() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    let mut loaded = directory.loaded();
    // As editors and deployment tools do it: a hidden or strange name first, then the rename.
    let temporary = folder.path().join(".web.yaml.swp");
    fs::write(&temporary, "neither yaml: [nor whole").unwrap();
    fs::write(folder.path().join("web.yaml~"), "a backup").unwrap();
    fs::write(&temporary, backend("web", 2)).unwrap();
    fs::rename(&temporary, folder.path().join("web.yaml")).unwrap();
    let taken = until(&mut loaded, |l| ports(l) == [2]).await;
    assert!(taken.errors.is_empty());
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_seen_and_watched_again() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("conf");
    let make = |path: &Path, port| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("web.yaml"), backend("web", port)).unwrap();
    };
    make(&path, 1);
    let directory = open(&path).unwrap();
    let mut loaded = directory.loaded();
    let next = above.path().join("next");
    make(&next, 2);
    fs::rename(&path, above.path().join("old")).unwrap();
    fs::rename(&next, &path).unwrap();
    until(&mut loaded, |l| ports(l) == [2]).await;
    // The new folder is watched as the old one was.
    fs::write(path.join("web.yaml"), backend("web", 3)).unwrap();
    until(&mut loaded, |l| ports(l) == [3]).await;
    // Gone, and back.
    fs::remove_dir_all(&path).unwrap();
    until(&mut loaded, |l| !l.errors.is_empty()).await;
    make(&path, 4);
    until(&mut loaded, |l| ports(l) == [4] && l.errors.is_empty()).await;
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    // The layout of the kubelet's AtomicWriter: web.yaml -> ..data/web.yaml, ..data -> ..<time>,
    // and an update that renames a new link over ..data.
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, port| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("web.yaml"), backend("web", port)).unwrap();
    };
    version("..2026_01", 1);
    symlink("..2026_01", folder.path().join("..data")).unwrap();
    symlink("..data/web.yaml", folder.path().join("web.yaml")).unwrap();
    let directory = open(folder.path()).unwrap();
    let mut loaded = directory.loaded();
    assert_eq!(ports(&loaded.borrow()), [1]);

    version("..2026_02", 2);
    symlink("..2026_02", folder.path().join("..data_tmp")).unwrap();
    fs::rename(
        folder.path().join("..data_tmp"),
        folder.path().join("..data"),
    )
    .unwrap();
    fs::remove_dir_all(folder.path().join("..2026_01")).unwrap();
    let taken = until(&mut loaded, |l| ports(l) == [2]).await;
    assert!(taken.errors.is_empty());
}

#[tokio::test]
async fn many_files_written_one_after_another_are_one_reload() {
    let folder = folder();
    let directory = open(folder.path()).unwrap();
    let mut loaded = directory.loaded();
    for at in 0..20 {
        let name = format!("b{at:02}");
        fs::write(
            folder.path().join(format!("{name}.yaml")),
            backend(&name, 7),
        )
        .unwrap();
    }
    let taken = until(&mut loaded, |l| l.objects.backends.len() == 21).await;
    // More than two only where this thread was kept waiting; one for each file would be 21.
    assert!(taken.revision <= 15, "revision {}", taken.revision);
}

#[test]
fn a_start_is_strict() {
    let none = open(Path::new("/nonexistent/conf")).unwrap_err();
    assert!(none.to_string().contains("cannot be read"), "{none}");
    let empty = tempfile::tempdir().unwrap();
    let error = open(empty.path()).unwrap_err();
    assert!(error.to_string().contains("holds no .yaml"), "{error}");
    let file = empty.path().join("a.yaml");
    fs::write(&file, b"\xff\xfe").unwrap();
    assert!(
        open(empty.path())
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
    let error = open(&file).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn an_object_written_twice_is_refused_with_both_places() {
    let folder = folder();
    let second = folder.path().join("z.yaml");
    let text = format!("{}---\n{}", backend("other", 5), backend("web", 5));
    fs::write(&second, text).unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    let first = folder.path().join("web.yaml");
    let expected = format!(
        "{}:7: metadata.name: Backend default/web is here twice; the first is at {}:1",
        second.display(),
        first.display()
    );
    assert_eq!(error, expected);
    // The same name in another namespace is another object.
    let other = backend("web", 5).replace("name: web", "name: web, namespace: shop");
    fs::write(&second, other).unwrap();
    open(folder.path()).unwrap();
}
