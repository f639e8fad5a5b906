package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.flows.State.Type;
import io.kestra.core.models.triggers.AbstractTrigger;
import io.kestra.core.models.triggers.Backfill;
import io.kestra.core.models.triggers.TriggerId;
import io.kestra.core.queues.QueueException;
import io.kestra.core.repositories.ArrayListTotal;
import io.kestra.core.repositories.TriggerRepositoryInterface;
import io.kestra.core.scheduler.events.CreateBackfillTrigger;
import io.kestra.core.scheduler.model.TriggerState;
import io.kestra.core.scheduler.model.TriggerType;
import io.micronaut.context.annotation.Requires;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.Put;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.time.Instant;
import java.util.List;

/**
 * The triggers the scheduler knows: not those of type Webhook (observed), at the addresses and in the form of Kestra 2.0
 * (kestrapy 2.0, {@code triggers_api.py}).
 */
@Requires(property = Dialect.PROPERTY, value = "2.0")
@Controller("/api/v1/" + Tenant.MAIN + "/triggers")
@ExecuteOn(TaskExecutors.IO)
class TriggerController {
    private final TriggerRepositoryInterface triggers;
    private final TriggerActions actions;

    TriggerController(TriggerRepositoryInterface triggers, TriggerActions actions) {
        this.triggers = triggers;
        this.actions = actions;
    }

    /** A trigger as its flow defines it, and what the scheduler made of it. */
    @Introspected
    record Entry(AbstractTrigger trigger, State state) {
    }

    /** The scheduler's view of a trigger. */
    @Introspected
    record State(
        String namespace,
        String flowId,
        String triggerId,
        Instant updatedAt,
        Instant evaluatedAt,
        Instant nextEvaluationDate,
        Backfill backfill,
        List<Type> stopAfter,
        boolean disabled,
        boolean locked,
        String workerId,
        Instant lastTriggeredDate,
        String executionId,
        TriggerType kind
    ) {
        static State of(TriggerState state) {
            return new State(
                state.getNamespace(), state.getFlowId(), state.getTriggerId(), state.getUpdatedAt(), state.getEvaluatedAt(),
                state.getNextEvaluationDate(), state.getBackfill(), state.getStopAfter(), state.isDisabled(), state.isLocked(),
                state.getWorkerId(), state.getLastTriggeredDate(), state.getExecutionId(), state.getType()
            );
        }
    }

    /** Which trigger. */
    @Introspected
    record Id(String namespace, String flowId, String triggerId) {
        TriggerId toId() {
            return TriggerActions.id(namespace, flowId, triggerId);
        }
    }

    /** Which trigger, and whether it is to rest. */
    @Introspected
    record SetDisabled(String namespace, String flowId, String triggerId, boolean disabled) {
    }

    /** Which trigger, and what it is to make up for. */
    @Introspected
    record CreateBackfill(String namespace, String flowId, String triggerId, CreateBackfillTrigger.Backfill backfill) {
    }

    @Get("/search")
    Results<Entry> search(HttpRequest<?> request) {
        ArrayListTotal<TriggerState> page = triggers.find(
            Search.page(request, triggers.sortMapping()::apply), Tenant.MAIN, Search.filters(request, QueryFilter.Resource.TRIGGER)
        );
        return new Results<>(
            page.stream().map(state -> new Entry(actions.definition(state).orElse(null), State.of(state))).toList(), page.getTotal()
        );
    }

    @Get("/{namespace}/{flowId}")
    Results<State> ofFlow(HttpRequest<?> request, String namespace, String flowId) {
        String query = request.getParameters().get("q");
        ArrayListTotal<TriggerState> page = triggers.find(
            Search.page(request, triggers.sortMapping()::apply), query, Tenant.MAIN, namespace, flowId, null
        );
        return new Results<>(page.stream().map(State::of).toList(), page.getTotal());
    }

    @Put("/set-disabled")
    State setDisabled(@Body SetDisabled body) {
        return State.of(actions.setDisabled(TriggerActions.id(body.namespace(), body.flowId(), body.triggerId()), body.disabled()));
    }

    @Post("/{namespace}/{flowId}/{triggerId}/unlock")
    @Consumes(MediaType.ALL)
    State unlock(String namespace, String flowId, String triggerId) {
        return State.of(actions.unlock(TriggerActions.id(namespace, flowId, triggerId)));
    }

    @Post("/{namespace}/{flowId}/{triggerId}/restart")
    @Consumes(MediaType.ALL)
    State restart(String namespace, String flowId, String triggerId) throws QueueException {
        return State.of(actions.restart(TriggerActions.id(namespace, flowId, triggerId)));
    }

    @Put("/backfill/create")
    State createBackfill(@Body CreateBackfill body) {
        return State.of(actions.createBackfill(TriggerActions.id(body.namespace(), body.flowId(), body.triggerId()), body.backfill()));
    }

    @Put("/backfill/pause")
    State pauseBackfill(@Body Id id) {
        return State.of(actions.setBackfillPaused(id.toId(), true));
    }

    @Put("/backfill/unpause")
    State unpauseBackfill(@Body Id id) {
        return State.of(actions.setBackfillPaused(id.toId(), false));
    }

    @Post("/backfill/delete")
    State deleteBackfill(@Body Id id) {
        return State.of(actions.deleteBackfill(id.toId()));
    }

    @Delete("/{namespace}/{flowId}/{triggerId}")
    @Consumes(MediaType.ALL)
    HttpResponse<?> delete(String namespace, String flowId, String triggerId) {
        actions.delete(TriggerActions.id(namespace, flowId, triggerId));
        return HttpResponse.noContent();
    }
}
