//! A `HorizontalPodAutoscaler` takes pods away.

use crate::app::App;
use crate::external_metrics::{ExternalMetrics, METRIC};
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

fn autoscaler() -> String {
    format!(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: app}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: app}}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: External
    external: {{metric: {{name: {METRIC}}}, target: {{type: AverageValue, averageValue: '1'}}}}
  behavior: {{scaleDown: {{stabilizationWindowSeconds: 0}}}}
"
    )
}

fn scale_in_loses_nothing(mode: Mode) {
    let lastcall = shared(mode);
    let app = App::deploy(&lastcall, "autoscaling", &Wanted::default());
    let metrics = ExternalMetrics::serve(&app.space, 4);
    app.space.apply(&autoscaler());
    app.space.kubectl(&[
        "wait",
        "--for=condition=ScalingActive",
        "hpa/app",
        "--timeout=90s",
    ]);
    let load = app.load();
    metrics.set(1);
    app.settle(1);
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(3);
}

#[test]
fn an_autoscalers_scale_in_loses_nothing_in_exec_mode() {
    scale_in_loses_nothing(Mode::Exec);
}

#[test]
fn an_autoscalers_scale_in_loses_nothing_in_http_get_mode() {
    scale_in_loses_nothing(Mode::HttpGet);
}
