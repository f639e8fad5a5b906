package devorch.testserver.api;

import io.kestra.core.async.AsyncOperationProcessedEvent;
import io.kestra.core.async.AsyncOperationsConfiguration;
import io.kestra.core.exceptions.ConflictException;
import io.kestra.core.executor.command.Create;
import io.kestra.core.executor.command.ExecutionCommand;
import io.kestra.core.executor.command.ForceRun;
import io.kestra.core.executor.command.Pause;
import io.kestra.core.executor.command.Replay;
import io.kestra.core.executor.command.Restart;
import io.kestra.core.executor.command.Resume;
import io.kestra.core.executor.command.UpdateLabels;
import io.kestra.core.executor.command.UpdateStatus;
import io.kestra.core.models.Label;
import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.ExecutionId;
import io.kestra.core.models.executions.ExecutionKilled;
import io.kestra.core.models.executions.ExecutionKilledExecution;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.State;
import io.kestra.core.queues.BroadcastQueueInterface;
import io.kestra.core.queues.DispatchQueueInterface;
import io.kestra.core.queues.QueueException;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.runners.FlowInputOutput;
import io.kestra.core.services.AsyncOperationWaiter;
import io.kestra.core.services.ExecutionService;
import io.kestra.core.services.FlowService;
import io.kestra.core.utils.IdUtils;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.exceptions.HttpStatusException;
import io.micronaut.http.server.multipart.MultipartBody;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.TimeoutException;

import jakarta.inject.Singleton;
import reactor.core.publisher.Mono;

/**
 * What can be done with an execution, by the engine's own commands. Each is sent, and answered when the executor has
 * acknowledged it. The states from which an action is possible, and the messages, are those of Kestra's web server,
 * which looks before it sends.
 */
@Singleton
class ExecutionActions {
    private final Executions executions;
    private final ExecutionService service;
    private final FlowService flows;
    private final FlowRepositoryInterface repository;
    private final FlowInputOutput inputs;
    private final DispatchQueueInterface<ExecutionCommand> commands;
    private final BroadcastQueueInterface<ExecutionKilled> kills;
    private final AsyncOperationWaiter waiter;
    private final Duration longest;

    ExecutionActions(
        Executions executions,
        ExecutionService service,
        FlowService flows,
        FlowRepositoryInterface repository,
        FlowInputOutput inputs,
        DispatchQueueInterface<ExecutionCommand> commands,
        BroadcastQueueInterface<ExecutionKilled> kills,
        AsyncOperationWaiter waiter,
        AsyncOperationsConfiguration configuration
    ) {
        this.executions = executions;
        this.service = service;
        this.flows = flows;
        this.repository = repository;
        this.inputs = inputs;
        this.commands = commands;
        this.kills = kills;
        this.waiter = waiter;
        this.longest = configuration.waitTimeout();
    }

    /** How a command reaches the executor. */
    private interface Sender {
        void send(String operationId) throws QueueException;
    }

    /** An execution that is to begin later. */
    Mono<Execution> schedule(Execution execution, Instant date) {
        ExecutionId id = new ExecutionId(
            execution.getTenantId(), execution.getNamespace(), execution.getFlowId(), execution.getId(), execution.getFlowRevision()
        );
        Create command = Create.of(id)
            .withKind(execution.getKind())
            .withLabels(execution.getLabels())
            .withInputs(execution.getInputs())
            .withScheduleDate(date);
        return send(execution.getId(), "Create", operation -> commands.emit(command.withOperationId(operation)))
            .thenReturn(execution.withScheduleDate(date));
    }

    Mono<Execution> kill(String id, boolean cascade) {
        Execution execution = executions.find(id);
        // A kill that cascades is passed on in any case, for the sake of the subflows.
        if (execution.getState().isTerminated() && !cascade) {
            throw new ConflictException("Cannot kill execution: execution is already terminated.");
        }
        return act(
            id, "Kill", operation -> kills.emit(
                ExecutionKilledExecution.builder()
                    .tenantId(Tenant.MAIN)
                    .executionId(id)
                    .isOnKillCascade(cascade)
                    .state(ExecutionKilled.State.REQUESTED)
                    .operationId(operation)
                    .build()
            )
        );
    }

    Mono<Execution> restart(String id, @Nullable Integer revision) {
        Execution execution = executions.find(id);
        checkRevision(execution, revision);
        if (!execution.getState().canBeRestarted()) {
            throw new ConflictException(
                "Execution '" + id + "' must be terminated or paused to be restarted, current state is '" + execution.getState().getCurrent() + "' !"
            );
        }
        return act(id, "Restart", operation -> commands.emit(Restart.from(execution, revision).withOperationId(operation)));
    }

    Mono<Execution> replay(String id, @Nullable String taskRunId, @Nullable Integer revision, @Nullable String breakpoints) {
        Execution execution = executions.find(id);
        executable(execution, taskRunId, revision);
        return replay(execution, taskRunId, revision, breakpoints);
    }

    Mono<Execution> replayWithInputs(
        String id, @Nullable String taskRunId, @Nullable Integer revision, @Nullable String breakpoints, MultipartBody parts
    ) {
        Execution execution = executions.find(id);
        Flow flow = executable(execution, taskRunId, revision);
        return inputs.readExecutionInputs(flow, execution, parts)
            .flatMap(values -> replay(execution.withInputs(values), taskRunId, revision, breakpoints));
    }

    private Flow executable(Execution execution, @Nullable String taskRunId, @Nullable Integer revision) {
        checkRevision(execution, revision);
        if (taskRunId != null && execution.getTaskRunList().stream().noneMatch(run -> run.getId().equals(taskRunId))) {
            throw new IllegalArgumentException("Task run id '" + taskRunId + "' not found in execution '" + execution.getId() + "'");
        }
        return flows.getFlowIfExecutableOrThrow(Tenant.MAIN, execution.getNamespace(), execution.getFlowId(), Optional.ofNullable(revision));
    }

    private Mono<Execution> replay(Execution execution, @Nullable String taskRunId, @Nullable Integer revision, @Nullable String breakpoints) {
        String id = IdUtils.create();
        Replay command = Replay.from(execution, id, taskRunId, revision, breakpoints);
        return act(id, "Replay", operation -> commands.emit(command.withOperationId(operation)));
    }

    Mono<Execution> resume(String id, @Nullable MultipartBody parts) {
        Execution execution = service.getExecutionIfPause(Tenant.MAIN, id, true);
        Flow flow = repository.findByExecutionWithoutAcl(execution);
        var resumed = io.kestra.plugin.core.flow.Pause.Resumed.now();
        return service.readInputs(execution, flow, parts == null ? Mono.empty() : parts)
            .flatMap(values -> act(id, "Resume", operation -> commands.emit(Resume.from(execution, resumed, values).withOperationId(operation))));
    }

    Mono<Execution> pause(String id) {
        Execution execution = executions.find(id);
        if (!execution.getState().isRunning()) {
            throw new ConflictException("Cannot pause execution: execution is not running.");
        }
        return act(id, "Pause", operation -> commands.emit(Pause.from(execution).withOperationId(operation)));
    }

    Mono<Execution> forceRun(String id) {
        Execution execution = executions.find(id);
        if (execution.getState().isTerminated()) {
            throw new ConflictException("Cannot force run execution: only non-terminated executions can be force run.");
        }
        return act(id, "Force run", operation -> commands.emit(ForceRun.from(execution).withOperationId(operation)));
    }

    Mono<Execution> changeStatus(String id, State.Type status) {
        if (!status.isTerminated()) {
            throw new IllegalArgumentException("You can only change the state of an execution to a terminal state.");
        }
        Execution execution = executions.find(id);
        if (!execution.getState().canChangeStatus()) {
            throw new ConflictException("Cannot change execution state: execution must be terminated and not killed.");
        }
        return act(id, "Change status", operation -> commands.emit(UpdateStatus.from(execution, status).withOperationId(operation)));
    }

    /** The labels replace all those there are, but for the system's. */
    Mono<Execution> setLabels(String id, List<Label> labels) {
        Execution execution = executions.find(id);
        if (!execution.getState().isTerminated()) {
            throw new HttpStatusException(HttpStatus.BAD_REQUEST, "The execution is not terminated");
        }
        List<Label> system = execution.getLabels().stream().filter(label -> label.key().startsWith(Label.SYSTEM_PREFIX)).toList();
        labels.stream().filter(label -> label.key().startsWith(Label.SYSTEM_PREFIX) && !system.contains(label)).findAny().ifPresent(label -> {
            throw new IllegalArgumentException("System labels can only be set by Kestra itself, offending label: " + label.key() + "=" + label.value());
        });
        List<Label> all = new ArrayList<>(labels);
        all.addAll(system);
        return act(id, "Set labels", operation -> commands.emit(UpdateLabels.from(execution, Label.deduplicate(all)).withOperationId(operation)));
    }

    private void checkRevision(Execution execution, @Nullable Integer revision) {
        if (revision != null && repository.findById(Tenant.MAIN, execution.getNamespace(), execution.getFlowId(), Optional.of(revision)).isEmpty()) {
            throw new NoSuchElementException(
                "Unable to find revision " + revision + " on flow " + execution.getNamespace() + "." + execution.getFlowId()
            );
        }
    }

    private Mono<Execution> act(String id, String name, Sender sender) {
        return send(id, name, sender).map(event -> executions.find(id));
    }

    private Mono<AsyncOperationProcessedEvent> send(String id, String name, Sender sender) {
        return waiter.submit(id, operation -> {
            try {
                sender.send(operation);
            } catch (QueueException e) {
                throw new IllegalStateException(e);
            }
        }, longest)
            .onErrorMap(
                TimeoutException.class,
                e -> new HttpStatusException(HttpStatus.GATEWAY_TIMEOUT, "Operation timed out waiting for state transition")
            )
            .map(event -> {
                if (event.outcome() == AsyncOperationProcessedEvent.Outcome.FAILED) {
                    throw new ConflictException(name + " failed: " + event.error());
                }
                return event;
            });
    }
}
