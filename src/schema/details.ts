/**
 * The door `holdfast/details`: the schemas of `google.rpc`, the standard details of errors, to be read with `error.detail(schema)`.
 */
export type {
  BadRequest,
  BadRequest_FieldViolation,
  DebugInfo,
  ErrorInfo,
  Help,
  Help_Link,
  LocalizedMessage,
  PreconditionFailure,
  PreconditionFailure_Violation,
  QuotaFailure,
  QuotaFailure_Violation,
  RequestInfo,
  ResourceInfo,
  RetryInfo,
} from "./gen/google/rpc/error_details_pb.ts";
export {
  BadRequest_FieldViolationSchema,
  BadRequestSchema,
  DebugInfoSchema,
  ErrorInfoSchema,
  Help_LinkSchema,
  HelpSchema,
  LocalizedMessageSchema,
  PreconditionFailure_ViolationSchema,
  PreconditionFailureSchema,
  QuotaFailure_ViolationSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.ts";
export type { Status } from "./gen/google/rpc/status_pb.ts";
export { StatusSchema } from "./gen/google/rpc/status_pb.ts";
