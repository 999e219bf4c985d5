//! The composition root.

/// Runs lastcall from a folder of YAML files.
pub fn standalone(_args: &crate::cli::standalone::Standalone) -> anyhow::Result<()> {
    anyhow::bail!("the planes are not wired together yet")
}
