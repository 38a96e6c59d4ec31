package job

// ReportPipeline is the name of the pipeline that answers statements. Every layshaft binary has it,
// so that a worker can run it without a program from its configuration or from a client.
const ReportPipeline = "layshaft-report"

// BuiltinCode stands for the hash of a program in a job of a built-in pipeline: the worker's own
// program. It is the SHA-256 of "layshaft built-in pipelines, version 1". A change that makes
// workers of two releases give different answers must change the version.
const BuiltinCode = "d8fd2026dbe40b4296f20c56b3149817fcf5b702f168986578f81d2c49384b6d"
