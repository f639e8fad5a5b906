package devorch.testserver;

import io.kestra.core.events.CrudEvent;
import io.kestra.core.events.CrudEventType;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.FlowInterface;
import io.kestra.core.models.flows.FlowWithSource;
import io.kestra.core.models.flows.GenericFlow;
import io.kestra.core.models.validations.ModelValidator;
import io.kestra.core.repositories.RepositoryBean;
import io.kestra.core.services.FlowParsingService;
import io.kestra.jdbc.services.JdbcFilterService;
import io.kestra.repository.h2.H2FlowRepository;
import io.kestra.repository.h2.H2Repository;
import io.kestra.repository.h2.H2RepositoryEnabled;
import io.micronaut.context.annotation.Replaces;
import io.micronaut.context.event.ApplicationEventPublisher;

import java.util.Optional;

import jakarta.inject.Named;
import lombok.extern.slf4j.Slf4j;
import org.jooq.Record;
import org.jooq.Table;
import org.jooq.exception.IntegrityConstraintViolationException;
import org.jooq.impl.DSL;

/**
 * The engine's flows in H2, found through an index. For one flow the engine numbers the revisions of all flows, which H2,
 * unlike PostgreSQL, does row by row: with 10,000 flows each write would take longer than the tests' patience.
 */
@Slf4j
@RepositoryBean
@H2RepositoryEnabled
@Replaces(H2FlowRepository.class)
class IndexedFlowRepository extends H2FlowRepository {
    IndexedFlowRepository(
        @Named("flows") H2Repository<FlowInterface> repository,
        ModelValidator validator,
        ApplicationEventPublisher<CrudEvent<FlowInterface>> events,
        FlowParsingService parsing,
        JdbcFilterService filters
    ) {
        super(repository, validator, events, parsing, filters);
        repository.getDslContextWrapper().transaction(configuration -> DSL.using(configuration).execute(
            "CREATE INDEX IF NOT EXISTS test_server_flows ON flows (\"namespace\", \"id\", \"revision\")"
        ));
    }

    @Override
    public Optional<Flow> findById(String tenantId, String namespace, String id, Optional<Integer> revision, Boolean allowDeleted) {
        return revision.or(() -> last(tenantId, namespace, id, Boolean.TRUE.equals(allowDeleted)))
            .flatMap(found -> super.findById(tenantId, namespace, id, Optional.of(found), true));
    }

    @Override
    public Optional<FlowWithSource> findByIdWithSource(String tenantId, String namespace, String id, Optional<Integer> revision, Boolean allowDeleted) {
        return revision.or(() -> last(tenantId, namespace, id, Boolean.TRUE.equals(allowDeleted)))
            .flatMap(found -> super.findByIdWithSource(tenantId, namespace, id, Optional.of(found), true));
    }

    @Override
    public Optional<Flow> findByIdWithoutAcl(String tenantId, String namespace, String id, Optional<Integer> revision) {
        return revision.or(() -> last(tenantId, namespace, id, true)).flatMap(found -> super.findByIdWithoutAcl(tenantId, namespace, id, Optional.of(found)));
    }

    @Override
    public Optional<FlowWithSource> findByIdWithSourceWithoutAcl(String tenantId, String namespace, String id, Optional<Integer> revision) {
        return revision.or(() -> last(tenantId, namespace, id, true))
            .flatMap(found -> super.findByIdWithSourceWithoutAcl(tenantId, namespace, id, Optional.of(found)));
    }

    @Override
    public Integer lastRevision(String tenantId, String namespace, String id) {
        return last(tenantId, namespace, id, false).orElse(null);
    }

    /** For a list the engine numbers all revisions once for each flow, which H2 does anew for each row of the join. */
    @Override
    protected Table<Record> fromLastRevision(boolean asterisk) {
        String columns = asterisk ? "f.*" : "f.\"key\", f.\"revision\"";
        return DSL.table(
            "(SELECT " + columns + " FROM flows f WHERE f.\"revision\" = (SELECT MAX(g.\"revision\") FROM flows g"
                + " WHERE g.\"tenant_id\" = f.\"tenant_id\" AND g.\"namespace\" = f.\"namespace\" AND g.\"id\" = f.\"id\"))"
        ).as("rev");
    }

    /** Two writes at a time to one flow both succeed (observed on PostgreSQL); H2 refuses the second for its key. */
    @Override
    public FlowWithSource save(GenericFlow flow, CrudEventType type) {
        while (true) {
            try {
                return super.save(flow, type);
            } catch (IntegrityConstraintViolationException e) {
                log.debug("{} was written by another request meanwhile", flow.uidWithoutRevision(), e);
            }
        }
    }

    /** The last revision of a flow, unless it is a deletion that does not count. */
    private Optional<Integer> last(String tenantId, String namespace, String id, boolean allowDeleted) {
        var deleted = DSL.field(DSL.quotedName("deleted"), Boolean.class);
        var revision = DSL.field(DSL.quotedName("revision"), Integer.class);
        return jdbcRepository.getDslContextWrapper().transactionResult(configuration -> DSL.using(configuration)
            .select(revision, deleted)
            .from(jdbcRepository.getTable())
            .where(DSL.field(DSL.quotedName("tenant_id"), String.class).eq(tenantId))
            .and(DSL.field(DSL.quotedName("namespace"), String.class).eq(namespace))
            .and(DSL.field(DSL.quotedName("id"), String.class).eq(id))
            .orderBy(revision.desc())
            .limit(1)
            .fetchOptional()
            .filter(row -> allowDeleted || !row.get(deleted))
            .map(row -> row.get(revision)));
    }
}
