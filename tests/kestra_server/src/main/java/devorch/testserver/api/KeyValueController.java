package devorch.testserver.api;

import com.fasterxml.jackson.core.JsonProcessingException;

import devorch.testserver.Dialect;

import io.kestra.core.models.kv.KVType;
import io.kestra.core.models.namespaces.NamespaceInterface;
import io.kestra.core.serializers.JacksonMapper;
import io.kestra.core.services.KVStoreService;
import io.kestra.core.storages.kv.KVEntry;
import io.kestra.core.storages.kv.KVMetadata;
import io.kestra.core.storages.kv.KVStore;
import io.kestra.core.storages.kv.KVValue;
import io.kestra.core.storages.kv.KVValueAndMetadata;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Header;
import io.micronaut.http.annotation.Put;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;

/**
 * The key-value store of a namespace (kestrapy 2.0, {@code kv_api.py}; messages as observed). The lists of keys are in
 * {@link KeyListController} and {@link KeyListController13}.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/namespaces/{namespace}/kv")
@ExecuteOn(TaskExecutors.IO)
class KeyValueController {
    private final KVStoreService stores;
    private final Dialect dialect;

    KeyValueController(KVStoreService stores, Dialect dialect) {
        this.stores = stores;
        this.dialect = dialect;
    }

    /**
     * A value and what Kestra took it for.
     *
     * @param revision 2.0 alone, like {@code updated}
     */
    @Introspected
    record Detail(KVType type, Object value, @Nullable Integer revision, @Nullable Instant updated) {
    }

    /** The keys of a bulk delete: those to delete in the request, those that were there in the answer. */
    @Introspected
    record Keys(List<String> keys) {
    }

    @Get("/{key}")
    Detail get(String namespace, String key) throws Exception {
        KVStore store = stores.get(Tenant.MAIN, namespace);
        KVValue value = store.getValue(key)
            .orElseThrow(() -> new NoSuchElementException("No value found for key '" + key + "' in namespace '" + namespace + "'"));
        KVType type = KVType.from(value.value());
        if (dialect.isOld()) {
            return new Detail(type, value.value(), null, null);
        }
        KVEntry entry = store.get(key).orElseThrow();
        return new Detail(type, value.value(), entry.revision(), entry.updateDate());
    }

    /** The body is Ion, of which JSON is a part; what is neither is kept as text since 2.0, and refused before. */
    @Put("/{key}")
    @Consumes({MediaType.TEXT_PLAIN, MediaType.APPLICATION_JSON})
    void put(String namespace, String key, @Body String body, @Nullable @Header("ttl") Duration ttl, @Nullable @Header("description") String description)
        throws IOException {
        Object value;
        try {
            value = JacksonMapper.ofIon().readValue(body, Object.class);
        } catch (JsonProcessingException e) {
            if (dialect.isOld()) {
                throw new IllegalArgumentException("Invalid JSON value for: " + body, e);
            }
            value = body;
        }
        stores.get(Tenant.MAIN, namespace).put(key, new KVValueAndMetadata(new KVMetadata(description, ttl), value));
    }

    @Delete("/{key}")
    @Consumes(MediaType.ALL)
    boolean delete(String namespace, String key) throws IOException {
        return stores.get(Tenant.MAIN, namespace).delete(key);
    }

    @Delete
    Keys deleteAll(String namespace, @Body Keys request) throws IOException {
        KVStore store = stores.get(Tenant.MAIN, namespace);
        List<String> deleted = new ArrayList<>();
        for (String key : request.keys()) {
            if (store.delete(key)) {
                deleted.add(key);
            }
        }
        return new Keys(deleted);
    }

    /** The keys that a flow of the namespace sees from the namespaces above it, the nearest one first. */
    @Get("/inheritance")
    List<KVEntry> inherited(String namespace) throws IOException {
        List<KVEntry> found = new ArrayList<>();
        for (String above : NamespaceInterface.asTree(namespace).reversed()) {
            if (!above.equals(namespace)) {
                found.addAll(stores.get(Tenant.MAIN, above).list());
            }
        }
        return found;
    }
}
