/**
 * The services that a server has without being asked: health on every door, reflection on doors that only this machine can reach,
 * and debug answers there if they were asked for. A request for one that a door does not have is answered as one for a service that is not
 * there: UNIMPLEMENTED.
 */
import type { DescService } from "@bufbuild/protobuf";
import { Health } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../schema/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../schema/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import type { HealthService } from "./health-service.ts";
import { ReflectionService } from "./reflection.ts";
import type { ReflectionIndex } from "./reflection-index.ts";

/** One of the server's own services. */
export interface BuiltIn {
  readonly contract: DescService;
  /** Has a method for each of the contract's. */
  readonly handlers: object;
  /** Not to be found on doors that other machines can reach. */
  readonly isLocalOnly: boolean;
}

export interface BuiltInOptions {
  readonly health: HealthService;
  /** What is served, as reflection tells it; it may grow later. */
  readonly index: ReflectionIndex;
  /** true: on every door. false: on none. Default on those that only this machine can reach. */
  readonly reflection: boolean | undefined;
  /** Debug answers, made by debug.ts: that file is loaded only where they are asked for. Default none. */
  readonly debug: BuiltIn | undefined;
}

/**
 * What to add to the router, each giving way to a service of the user's own with the same name. They take no permit of admission, as a Watch
 * would keep it for ever and an overloaded server must be able to say so, and ask for no principal (API.md, section 8). They are told to the
 * index too.
 */
export function builtIns({ health, index, reflection, debug }: BuiltInOptions): readonly BuiltIn[] {
  const found: BuiltIn[] = [{ contract: Health, handlers: health, isLocalOnly: false }];
  if (reflection !== false) {
    const handlers = new ReflectionService(index);
    for (const contract of [ServerReflection, ServerReflectionAlpha]) {
      found.push({ contract, handlers, isLocalOnly: reflection !== true });
    }
  }
  if (debug !== undefined) found.push(debug);
  // A tool that knows a server by its reflection alone asks for its health too.
  for (const { contract } of found) index.add(contract);
  return found;
}
