#![expect(unsafe_code, reason = "calls into plugins")]
use ckan_worker_abi::{Delivery, Host, Instance, PluginModuleRef, Reply};
use ckan_worker_abi::abi_stable::std_types::{RResult, RStr};

/// A worker that was created, ready to consume.
pub struct LoadedWorker { name: Box<str>, module: PluginModuleRef, instance: Instance }

impl LoadedWorker {
    pub fn create(module: PluginModuleRef, name: &str, host: Host, settings_json: &str) -> Result<Self, Reply> {
        // SAFETY: placeholder
        match unsafe { (module.create())(host, RStr::from_str(settings_json)) } {
            RResult::ROk(instance) => Ok(Self { name: name.into(), module, instance }),
            RResult::RErr(reply) => Err(reply),
        }
    }
    pub fn name(&self) -> &str { &self.name }
    pub fn consume(&self, host: Host, delivery: &Delivery<'_>) -> Reply {
        // SAFETY: placeholder
        unsafe { (self.module.consume())(self.instance, host, delivery) }
    }
}
impl Drop for LoadedWorker {
    fn drop(&mut self) {
        // SAFETY: placeholder
        unsafe { (self.module.destroy())(self.instance) }
    }
}
